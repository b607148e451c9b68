import Glibc
import OS

/// What the Go linker writes into a program: its own version and the modules that it is made of. The place is a section of
/// an ELF file, or the start of the first segment that can be written, in programs without a table of sections.
struct GoProgram {
    /// Of the table of sections and of that of segments.
    static let maximumHeaders = 4_096
    /// Of the list of modules, in bytes.
    static let maximumList = 4 << 20
    /// How far into a segment the mark is looked for, in bytes.
    static let searchedBytes = 64 << 10

    private static let mark: [UInt8] = [0xFF] + Array(" Go buildinf:".utf8)

    var components: [SoftwareComponent]

    /// Nil for a file that is no ELF, not of Go, or broken.
    init?(_ file: borrowing OwnedFD, size: Int64) {
        guard let elf = ELFFile(file, size: size), let block = elf.goBuildInformation(file),
            let (version, list) = Self.split(block)
        else { return nil }
        components = Self.components(version: version, list: list)
    }

    /// - Parameter block: from the mark on: mark, width of a pointer, flags, at 32 two texts with their lengths in front.
    /// - Returns: nil for programs of Go before 1.18, which have addresses there.
    static func split(_ block: [UInt8]) -> (version: String, list: String)? {
        guard block.count >= 32, block.starts(with: mark), block[15] & 2 != 0 else { return nil }
        var at = 32
        func text() -> [UInt8]? {
            var length: UInt64 = 0
            var shift: UInt64 = 0
            while at < block.count, shift < 35 {
                let byte = block[at]
                at += 1
                length |= UInt64(byte & 0x7F) << shift
                shift += 7
                if byte & 0x80 == 0 {
                    guard length <= UInt64(block.count - at) else { return nil }
                    defer { at += Int(length) }
                    return Array(block[at..<at + Int(length)])
                }
            }
            return nil
        }
        guard let version = text(), let list = text() else { return nil }
        // The list stands between two marks of 16 bytes.
        let inner = list.count >= 33 ? Array(list[16..<list.count - 16]) : []
        return (String(decoding: version, as: UTF8.self), String(decoding: inner, as: UTF8.self))
    }

    /// Lines `mod`, `dep` and `=>`, with tabs between module, version and checksum; `=>` names what a `dep` was replaced by.
    static func components(version: String, list: String) -> [SoftwareComponent] {
        var out: [SoftwareComponent] = []
        let words = version.split(separator: " ").first ?? ""
        if words.hasPrefix("go"), words.count > 2 {
            let number = String(words.dropFirst(2))
            out.append(
                SoftwareComponent(
                    name: "stdlib", version: number, purl: PackageURL.make("golang", name: "stdlib", version: number)))
        }
        for line in list.split(separator: "\n") {
            let fields = line.split(separator: "\t", omittingEmptySubsequences: false).map(String.init)
            guard fields.count >= 2, let kind = fields.first, ["mod", "dep", "=>"].contains(kind), !fields[1].isEmpty
            else {
                continue
            }
            if kind == "=>", out.count > 1 { out.removeLast() }
            let parts = fields[1].split(separator: "/").map(String.init)
            guard let name = parts.last else { continue }
            // A program built from a working copy has no version of its own.
            let number = fields.count > 2 && fields[2] != "(devel)" ? fields[2] : ""
            out.append(
                SoftwareComponent(
                    name: fields[1], version: number,
                    purl: PackageURL.make("golang", namespace: Array(parts.dropLast()), name: name, version: number)))
        }
        return out
    }
}

/// Just enough of an ELF file to find a section or a segment. All numbers are foreign: checked against the file's size before
/// they are used.
struct ELFFile {
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
