/// The shared libraries that a program or library names (`DT_NEEDED`), from the few parts of the file that say so.
enum ELFFile {
    /// Longest list that is read, in bytes.
    private static let maximumPart = 1 << 20

    /// - Parameter read: gives up to `count` bytes from `offset` on; fewer at the end of the file.
    /// - Returns: their names in their order; nil if it is no ELF file of this kind, or names none.
    static func needed(_ read: (_ offset: UInt64, _ count: Int) -> [UInt8]) -> [String]? {
        let head = read(0, 64)
        // Magic, 32 or 64 bits, little endian, which is what all of Debian's common machines are.
        guard head.count >= 52, head.starts(with: [0x7F, 0x45, 0x4C, 0x46]), head[4] == 1 || head[4] == 2, head[5] == 1
        else {
            return nil
        }
        let wide = head[4] == 2
        guard !wide || head.count == 64 else { return nil }
        let table = wide ? number(head, 32, 8) : number(head, 28, 4)
        let size = Int(number(head, wide ? 54 : 42, 2))
        let count = Int(number(head, wide ? 56 : 44, 2))
        guard size >= (wide ? 56 : 32), count > 0, size * count <= maximumPart else { return nil }
        let segments = read(table, size * count)
        guard segments.count == size * count else { return nil }
        var loads: [(address: UInt64, offset: UInt64, size: UInt64)] = []
        var dynamic: (offset: UInt64, size: UInt64)?
        for index in 0..<count {
            let start = index * size
            let type = number(segments, start, 4)
            let offset = wide ? number(segments, start + 8, 8) : number(segments, start + 4, 4)
            let address = wide ? number(segments, start + 16, 8) : number(segments, start + 8, 4)
            let bytes = wide ? number(segments, start + 32, 8) : number(segments, start + 16, 4)
            if type == 1 { loads.append((address, offset, bytes)) }
            if type == 2 { dynamic = (offset, bytes) }
        }
        guard let dynamic, dynamic.size <= UInt64(maximumPart) else { return nil }
        let entries = read(dynamic.offset, Int(dynamic.size))
        let width = wide ? 8 : 4
        var names: [UInt64] = []
        var strings: UInt64?
        var stringBytes: UInt64 = 0
        for start in stride(from: 0, to: entries.count - 2 * width + 1, by: 2 * width) {
            let value = number(entries, start + width, width)
            switch number(entries, start, width) {
            case 1: names.append(value)
            case 5: strings = value
            case 10: stringBytes = value
            default: break
            }
        }
        guard !names.isEmpty, names.count <= 4096, let strings, stringBytes <= UInt64(16 * maximumPart),
            let load = loads.first(where: { $0.address <= strings && strings - $0.address < $0.size })
        else { return nil }
        let (place, overflow) = load.offset.addingReportingOverflow(strings - load.address)
        guard !overflow else { return nil }
        let text = read(place, Int(stringBytes))
        let found = names.compactMap { name -> String? in
            guard name < UInt64(text.count) else { return nil }
            let bytes = text[Int(name)...].prefix(256).prefix { $0 != 0 }
            return bytes.isEmpty || bytes.count > 255 ? nil : String(decoding: bytes, as: UTF8.self)
        }
        return found.isEmpty ? nil : found
    }

    private static func number(_ bytes: [UInt8], _ at: Int, _ count: Int) -> UInt64 {
        guard at >= 0, at + count <= bytes.count else { return 0 }
        return (0..<count).reduce(0) { $0 | UInt64(bytes[at + $1]) << UInt64(8 * $1) }
    }
}
