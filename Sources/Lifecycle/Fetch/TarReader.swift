/// Reads the entries of an uncompressed tar (ustar, pax, GNU's long names) from pieces of any size. What it reads is made by
/// `bsdtar` from a foreign archive, so it says what bsdtar itself understood; still nothing in it is trusted.
struct TarReader: Sendable {
    enum Kind: Sendable, Hashable { case file, hardLink, link, device, folder, fifo, other }

    struct Entry: Sendable, Hashable {
        /// As in the archive; may be absolute, empty or lead out of the tree.
        var path: [UInt8]
        var kind: Kind
        /// Target of a link.
        var target: [UInt8]
        /// Of the file when unpacked, in bytes.
        var size: Int64
        var mode: UInt32
    }

    struct Malformed: Error, Sendable, Hashable {
        var reason: String
    }

    /// Largest block of extended attributes: a path has at most 4096 bytes.
    static let maximumExtension = 1 << 20

    private enum State: Sendable {
        case header
        /// Bytes of data and padding to skip.
        case skip(Int64)
        /// Extended header: type, bytes left, bytes with padding left.
        case extended(UInt8, left: Int, padded: Int)
        case end
    }

    private var state = State.header
    private var buffer: [UInt8] = []
    private var extended: [UInt8] = []
    private var pax: [String: [UInt8]] = [:]

    /// Entries that are complete with these bytes.
    mutating func take(_ bytes: [UInt8]) throws(Malformed) -> [Entry] {
        var entries: [Entry] = []
        var rest = bytes[...]
        while !rest.isEmpty {
            switch state {
            case .end:
                return entries
            case .skip(let count):
                let step = Int(min(count, Int64(rest.count)))
                rest = rest.dropFirst(step)
                state = count == Int64(step) ? .header : .skip(count - Int64(step))
            case .extended(let type, let left, let padded):
                let step = min(padded, rest.count)
                extended += rest.prefix(min(left, step))
                rest = rest.dropFirst(step)
                let leftNow = max(0, left - step)
                if padded == step {
                    try finishExtended(type)
                    state = .header
                } else {
                    state = .extended(type, left: leftNow, padded: padded - step)
                }
            case .header:
                let step = min(512 - buffer.count, rest.count)
                buffer += rest.prefix(step)
                rest = rest.dropFirst(step)
                guard buffer.count == 512 else { return entries }
                let block = buffer
                buffer = []
                if let entry = try header(block) { entries.append(entry) }
            }
        }
        return entries
    }

    /// To be asked when no more bytes come: whether the archive ended where one may end.
    var isComplete: Bool {
        if case .end = state { return true }
        if case .header = state { return buffer.isEmpty && pax.isEmpty }
        return false
    }

    private mutating func header(_ block: [UInt8]) throws(Malformed) -> Entry? {
        if block.allSatisfy({ $0 == 0 }) {
            state = .end
            return nil
        }
        let stated = try Self.number(block[148..<156])
        var sum: Int64 = 0
        for (index, byte) in block.enumerated() { sum += (148..<156).contains(index) ? 32 : Int64(byte) }
        guard stated == sum else { throw Malformed(reason: "a header has a wrong checksum") }
        let type = block[156]
        var size = try Self.number(block[124..<136])
        guard size >= 0 else { throw Malformed(reason: "a size is negative") }
        switch type {
        case UInt8(ascii: "x"), UInt8(ascii: "g"), UInt8(ascii: "L"), UInt8(ascii: "K"):
            guard size <= Int64(Self.maximumExtension) else {
                throw Malformed(reason: "an extended header is too large")
            }
            extended = []
            let padded = Int((size + 511) / 512 * 512)
            state = padded == 0 ? .header : .extended(type, left: Int(size), padded: padded)
            return nil
        default: break
        }
        if let text = pax["size"] { size = try Self.decimal(text) }
        var path = pax["GNU.sparse.name"] ?? pax["path"] ?? Self.name(block)
        let target = pax["linkpath"] ?? Self.text(block[157..<257])
        var unpacked = size
        for key in ["GNU.sparse.realsize", "GNU.sparse.size", "SCHILY.realsize"] {
            if let text = pax[key] { unpacked = max(unpacked, try Self.decimal(text)) }
        }
        pax = [:]
        var kind: Kind
        switch type {
        case 0, UInt8(ascii: "0"), UInt8(ascii: "7"), UInt8(ascii: "S"): kind = .file
        case UInt8(ascii: "1"): kind = .hardLink
        case UInt8(ascii: "2"): kind = .link
        case UInt8(ascii: "3"), UInt8(ascii: "4"): kind = .device
        case UInt8(ascii: "5"): kind = .folder
        case UInt8(ascii: "6"): kind = .fifo
        default: kind = .other
        }
        // Old archives mark folders by a slash only.
        if kind == .file && path.last == UInt8(ascii: "/") { kind = .folder }
        while path.count > 1 && path.last == UInt8(ascii: "/") { path.removeLast() }
        // Links of all kinds, folders and devices have no data, whatever their size says; a hard link may in pax.
        let hasData = kind == .file || kind == .other || kind == .hardLink
        let (padded, overflow) = size.addingReportingOverflow(511)
        guard !overflow else { throw Malformed(reason: "a size is too large") }
        let data = hasData ? padded / 512 * 512 : 0
        state = data == 0 ? .header : .skip(data)
        let mode = UInt32(truncatingIfNeeded: try Self.number(block[100..<108])) & 0o7777
        return Entry(path: path, kind: kind, target: target, size: hasData ? unpacked : 0, mode: mode)
    }

    private mutating func finishExtended(_ type: UInt8) throws(Malformed) {
        switch type {
        case UInt8(ascii: "L"): pax["path"] = Array(extended.prefix { $0 != 0 })
        case UInt8(ascii: "K"): pax["linkpath"] = Array(extended.prefix { $0 != 0 })
        // Names for all entries are no names of an entry; bsdtar applies none of them.
        case UInt8(ascii: "g"): break
        default: try readPax()
        }
        extended = []
    }

    /// Lines `LENGTH KEY=VALUE\n`, where the length counts itself.
    private mutating func readPax() throws(Malformed) {
        var rest = extended[...]
        while !rest.isEmpty {
            guard let space = rest.prefix(12).firstIndex(of: 32),
                let length = Int(String(decoding: rest[..<space], as: UTF8.self)), length <= rest.count,
                length > space - rest.startIndex + 1, rest[rest.startIndex + length - 1] == 10
            else { throw Malformed(reason: "an extended header can't be read") }
            let record = rest[(space + 1)..<(rest.startIndex + length - 1)]
            rest = rest.dropFirst(length)
            guard let equals = record.firstIndex(of: UInt8(ascii: "=")) else {
                throw Malformed(reason: "an extended header can't be read")
            }
            pax[String(decoding: record[..<equals], as: UTF8.self)] = Array(record[(equals + 1)...])
        }
    }

    private static func text(_ field: ArraySlice<UInt8>) -> [UInt8] { Array(field.prefix { $0 != 0 }) }

    private static func name(_ block: [UInt8]) -> [UInt8] {
        let name = text(block[0..<100])
        guard block[257..<263].elementsEqual([0x75, 0x73, 0x74, 0x61, 0x72, 0]) else { return name }
        let prefix = text(block[345..<500])
        return prefix.isEmpty ? name : prefix + [UInt8(ascii: "/")] + name
    }

    /// Octal digits, or GNU's binary form for large numbers.
    private static func number(_ field: ArraySlice<UInt8>) throws(Malformed) -> Int64 {
        if let first = field.first, first & 0x80 != 0 {
            // 256 to the power of the field's bytes, two's complement; only what fits.
            var value = Int64(first & 0x40 != 0 ? -1 : 0) << 6 | Int64(first & 0x3F)
            for byte in field.dropFirst() {
                guard value >= -(1 << 54), value < 1 << 54 else { throw Malformed(reason: "a number is too large") }
                value = value << 8 | Int64(byte)
            }
            return value
        }
        var value: Int64 = 0
        var isOver = false
        for byte in field.drop(while: { $0 == 32 || $0 == 0 }) {
            if byte == 32 || byte == 0 {
                isOver = true
                continue
            }
            guard !isOver, byte >= 48, byte < 56, value < 1 << 59 else {
                throw Malformed(reason: "a number can't be read")
            }
            value = value << 3 | Int64(byte - 48)
        }
        return value
    }

    private static func decimal(_ text: [UInt8]) throws(Malformed) -> Int64 {
        guard let value = Int64(String(decoding: text, as: UTF8.self)), value >= 0 else {
            throw Malformed(reason: "a size can't be read")
        }
        return value
    }
}
