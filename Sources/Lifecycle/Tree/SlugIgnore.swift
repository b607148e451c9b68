import Domain
import Glibc
import OS

/// `.slugignore`: what of the source is left out before anything is looked for. Patterns as in `.gitignore`, without `!`.
struct SlugIgnore: Sendable, Hashable {
    static let maximumBytes = 64 << 10

    var patterns: [GlobPattern]

    /// - Throws: `sourceUnusable` with the line that can't be used.
    init(_ bytes: [UInt8]) throws(BuildStop) {
        guard bytes.count <= Self.maximumBytes else {
            throw BuildStop(.sourceUnusable, ".slugignore is larger than 64 KiB.")
        }
        var bytes = bytes[...]
        if bytes.starts(with: [0xEF, 0xBB, 0xBF]) { bytes = bytes.dropFirst(3) }
        patterns = []
        for raw in bytes.split(separator: 10) {
            let line = Self.trimmed(raw)
            guard let first = line.first, first != UInt8(ascii: "#") else { continue }
            let shown = Names.quoted(String(decoding: line, as: UTF8.self))
            guard first != UInt8(ascii: "!") else {
                throw BuildStop(
                    .sourceUnusable,
                    ".slugignore: \(shown): patterns with ! are not supported; name what is to be left out.")
            }
            guard !line.split(separator: UInt8(ascii: "/")).contains(where: { $0.elementsEqual("..".utf8) }) else {
                throw BuildStop(.sourceUnusable, ".slugignore: \(shown): '..' is not allowed.")
            }
            guard let pattern = GlobPattern(Array(line)) else { continue }
            patterns.append(pattern)
        }
    }

    /// Without the end of a line in Windows' form, and without spaces at the end that no `\` keeps.
    private static func trimmed(_ line: ArraySlice<UInt8>) -> ArraySlice<UInt8> {
        var line = line
        if line.last == 13 { line.removeLast() }
        while line.last == 32 {
            let slashes = line.dropLast().reversed().prefix { $0 == UInt8(ascii: "\\") }.count
            if slashes % 2 == 1 { break }
            line.removeLast()
        }
        return line
    }

    func matches(_ path: [[UInt8]], isFolder: Bool) -> Bool {
        patterns.contains { $0.matches(path, isFolder: isFolder) }
    }

    /// Whether a folder goes, by itself or with one above it.
    func covers(_ path: [[UInt8]]) -> Bool {
        (1...max(path.count, 1)).contains { matches(Array(path.prefix($0)), isFolder: true) }
    }

    /// Removes what matches below `folder`; links are removed and never followed.
    /// - Returns: how many entries went; a folder counts once.
    func apply(to folder: String) throws(SystemError) -> Int {
        guard !patterns.isEmpty else { return 0 }
        var removed = 0
        try FolderWalk.visit(folder) { entry throws(SystemError) in
            guard matches(entry.path, isFolder: entry.kind == .folder) else { return .descend }
            try entry.remove()
            removed += 1
            return .skip
        }
        return removed
    }
}
