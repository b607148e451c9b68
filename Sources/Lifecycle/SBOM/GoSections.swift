import Glibc
import OS

/// Just enough of an ELF file to find the section or segment that Go's linker writes to. All numbers are foreign: checked against the file's size before
/// they are used.
struct GoSections {
    private let size: Int64
    private let is64: Bool
    private let isLittle: Bool
    private let header: [UInt8]

    init?(_ file: borrowing OwnedFD, size: Int64) {
        guard let header = Self.read(file, at: 0, count: 64), header.count == 64,
            header.starts(with: [0x7F, 0x45, 0x4C, 0x46]), header[4] == 1 || header[4] == 2,
            header[5] == 1 || header[5] == 2
        else { return nil }
        self.size = size
        self.header = header
        is64 = header[4] == 2
        isLittle = header[5] == 1
    }

    private static func read(_ file: borrowing OwnedFD, at offset: Int64, count: Int) -> [UInt8]? {
        let raw = file.raw
        var buffer = [UInt8](repeating: 0, count: count)
        let read = pread(raw, &buffer, count, off_t(offset))
        guard read >= 0 else { return nil }
        return Array(buffer.prefix(read))
    }

    private func number(_ bytes: [UInt8], _ at: Int, _ width: Int) -> UInt64 {
        guard at + width <= bytes.count else { return 0 }
        let part = bytes[at..<at + width]
        return (isLittle ? Array(part.reversed()) : Array(part)).reduce(0) { $0 << 8 | UInt64($1) }
    }

    /// A part of the file; nil if it does not lie in it whole.
    private func part(_ file: borrowing OwnedFD, _ offset: UInt64, _ count: UInt64, limit: Int) -> [UInt8]? {
        guard count > 0, count <= UInt64(limit), offset <= UInt64(size), count <= UInt64(size) - offset else {
            return nil
        }
        guard let bytes = Self.read(file, at: Int64(offset), count: Int(count)), bytes.count == Int(count) else {
            return nil
        }
        return bytes
    }

    /// A table of the header: where it is, how large an entry is, how many there are.
    private func table(
        _ file: borrowing OwnedFD, offset: Int, width: Int, count: Int, least: Int
    ) -> (bytes: [UInt8], width: Int, count: Int)? {
        let width = Int(number(header, width, 2)), count = Int(number(header, count, 2))
        guard width >= least, width <= 256, count > 0, count <= GoProgram.maximumHeaders else { return nil }
        let start = number(header, offset, is64 ? 8 : 4)
        guard let bytes = part(file, start, UInt64(width * count), limit: 2 << 20) else { return nil }
        return (bytes, width, count)
    }

    /// What stands from the mark of Go on.
    func goBuildInformation(_ file: borrowing OwnedFD) -> [UInt8]? { section(file) ?? segment(file) }

    private func section(_ file: borrowing OwnedFD) -> [UInt8]? {
        guard
            let table = is64
                ? table(file, offset: 40, width: 58, count: 60, least: 64)
                : table(file, offset: 32, width: 46, count: 48, least: 40)
        else { return nil }
        func place(_ index: Int) -> (name: Int, offset: UInt64, size: UInt64) {
            let at = index * table.width
            return (
                Int(number(table.bytes, at, 4)), number(table.bytes, at + (is64 ? 24 : 16), is64 ? 8 : 4),
                number(table.bytes, at + (is64 ? 32 : 20), is64 ? 8 : 4)
            )
        }
        let index = Int(number(header, is64 ? 62 : 50, 2))
        guard index < table.count else { return nil }
        let names = place(index)
        guard let texts = part(file, names.offset, names.size, limit: 1 << 20) else { return nil }
        let wanted = Array(".go.buildinfo\0".utf8)
        for index in 0..<table.count {
            let entry = place(index)
            guard entry.name < texts.count, texts[entry.name...].starts(with: wanted) else { continue }
            return part(file, entry.offset, entry.size, limit: GoProgram.maximumList)
        }
        return nil
    }

    private func segment(_ file: borrowing OwnedFD) -> [UInt8]? {
        guard
            let table = is64
                ? table(file, offset: 32, width: 54, count: 56, least: 56)
                : table(file, offset: 28, width: 42, count: 44, least: 32)
        else { return nil }
        for index in 0..<table.count {
            let at = index * table.width
            let flags = number(table.bytes, at + (is64 ? 4 : 24), 4)
            // Loaded, can be written, can't be run.
            guard number(table.bytes, at, 4) == 1, flags & 3 == 2 else { continue }
            let offset = number(table.bytes, at + (is64 ? 8 : 4), is64 ? 8 : 4)
            let length = number(table.bytes, at + (is64 ? 32 : 16), is64 ? 8 : 4)
            guard length > 0,
                let start = part(file, offset, min(length, UInt64(GoProgram.searchedBytes)), limit: 1 << 20)
            else { return nil }
            let mark = [0xFF] + Array(" Go buildinf:".utf8)
            for place in stride(from: 0, to: start.count, by: 16) where start[place...].starts(with: mark) {
                let rest = min(length - UInt64(place), UInt64(GoProgram.maximumList))
                return part(file, offset + UInt64(place), rest, limit: GoProgram.maximumList)
            }
            return nil
        }
        return nil
    }
}
