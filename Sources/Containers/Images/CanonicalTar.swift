import Crypto
import Domain
import OS

/// Writes the one tar that a tree has: pax format, times fixed to 1980-01-01, owner 1000:1000 without names, entries in the
/// order the caller gives. Bytes go into a SHA-256 and to `sink`, never into memory as a whole.
struct CanonicalTar {
    /// 1980-01-01T00:00:00Z: the earliest time that zip, and so Python's wheels, can hold.
    static let modificationTime: Int64 = 315_532_800
    static let owner: Int64 = 1000

    enum Kind: UInt8 {
        case file = 0x30
        case hardLink = 0x31
        case symbolicLink = 0x32
        case folder = 0x35
        case extended = 0x78
    }

    private var hash = SHA256()
    private var pending: [UInt8] = []
    private(set) var bytes: Int64 = 0
    private let sink: (([UInt8]) throws(SystemError) -> Void)?

    /// - Parameter sink: gets the tar itself; for tests and exports.
    init(sink: (([UInt8]) throws(SystemError) -> Void)? = nil) { self.sink = sink }

    /// Bytes that an entry takes, headers and padding included.
    static func entryBytes(path: [UInt8], link: [UInt8], size: Int64) -> Int64 {
        let records = extendedRecords(path: path, link: link, size: size)
        let extra = records.isEmpty ? 0 : 512 + padded(Int64(records.count))
        return 512 + extra + padded(size)
    }

    /// Bytes of the two empty blocks at the end.
    static let endBytes: Int64 = 1024

    mutating func header(path: [UInt8], kind: Kind, mode: UInt32, size: Int64, link: [UInt8]) throws(SystemError) {
        let records = Self.extendedRecords(path: path, link: link, size: size)
        if !records.isEmpty {
            try put(
                Self.block(
                    name: Array("././@PaxHeader".utf8), kind: .extended, mode: 0o644, size: Int64(records.count),
                    link: [], owner: 0))
            try put(records)
            try pad(Int64(records.count))
        }
        try put(
            Self.block(
                name: Array(path.prefix(100)), kind: kind, mode: mode, size: size > Self.largestOctal ? 0 : size,
                link: Array(link.prefix(100)), owner: Self.owner))
    }

    /// Contents of the file whose header came last; the caller keeps to the size it named.
    mutating func content(_ part: [UInt8]) throws(SystemError) { try put(part) }

    mutating func pad(_ size: Int64) throws(SystemError) {
        let rest = Int(size % 512)
        if rest > 0 { try put([UInt8](repeating: 0, count: 512 - rest)) }
    }

    /// The end of the archive. - Returns: SHA-256 in hex.
    mutating func finish() throws(SystemError) -> String {
        try put([UInt8](repeating: 0, count: 1024))
        try flush()
        return SlugStore.hex(hash.finalize())
    }

    private static let largestOctal: Int64 = 0o777_7777_7777

    private static func padded(_ size: Int64) -> Int64 { (size + 511) / 512 * 512 }

    private mutating func put(_ part: [UInt8]) throws(SystemError) {
        bytes += Int64(part.count)
        pending.append(contentsOf: part)
        if pending.count >= 256 << 10 { try flush() }
    }

    private mutating func flush() throws(SystemError) {
        hash.update(data: pending)
        try sink?(pending)
        pending.removeAll(keepingCapacity: true)
    }

    /// Pax records for what the plain header can't hold, in a fixed order.
    private static func extendedRecords(path: [UInt8], link: [UInt8], size: Int64) -> [UInt8] {
        var out: [UInt8] = []
        if link.count > 100 { out += record("linkpath", link) }
        if path.count > 100 { out += record("path", path) }
        if size > largestOctal { out += record("size", Array(String(size).utf8)) }
        return out
    }

    /// `LENGTH key=value\n`, where LENGTH counts itself.
    private static func record(_ key: String, _ value: [UInt8]) -> [UInt8] {
        let rest = 1 + key.utf8.count + 1 + value.count + 1
        var total = rest + String(rest).utf8.count
        if String(total).utf8.count + rest != total { total = rest + String(total).utf8.count }
        return Array("\(total) \(key)=".utf8) + value + [0x0A]
    }

    private static func block(
        name: [UInt8], kind: Kind, mode: UInt32, size: Int64, link: [UInt8], owner: Int64
    ) -> [UInt8] {
        var block = [UInt8](repeating: 0, count: 512)
        func set(_ at: Int, _ bytes: [UInt8]) { block.replaceSubrange(at..<(at + bytes.count), with: bytes) }
        func octal(_ value: Int64, _ digits: Int) -> [UInt8] {
            let text = String(value, radix: 8)
            return Array((String(repeating: "0", count: digits - text.count) + text).utf8)
        }
        set(0, name)
        set(100, octal(Int64(mode), 7))
        set(108, octal(owner, 7))
        set(116, octal(owner, 7))
        set(124, octal(size, 11))
        set(136, octal(modificationTime, 11))
        set(148, [UInt8](repeating: 0x20, count: 8))
        set(156, [kind.rawValue])
        set(157, link)
        set(257, Array("ustar".utf8) + [0] + Array("00".utf8))
        // Device numbers, as GNU tar and Go write them for what is no device.
        set(329, octal(0, 7))
        set(337, octal(0, 7))
        let sum = block.reduce(Int64(0)) { $0 + Int64($1) }
        set(148, octal(sum, 6) + [0, 0x20])
        return block
    }
}
