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
        guard let elf = GoSections(file, size: size), let block = elf.goBuildInformation(file),
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
