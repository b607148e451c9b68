import Domain
import OS

/// What `include` and `exclude` of `project.toml` mean: patterns as in `.gitignore`, of which the last that matches counts.
public struct SourceSelection: Sendable, Hashable {
    /// Of one list, and of one pattern in bytes.
    static let maximumPatterns = 1_000
    static let maximumBytes = 1_000

    private struct Pattern: Sendable, Hashable {
        /// Between slashes; `**` stands for any number of them.
        var parts: [[UInt8]]
        var negated: Bool
        var foldersOnly: Bool
    }

    private var patterns: [Pattern] = []

    /// - Throws: `sourceUnusable` for a pattern that leads out of the source, or too many of them.
    public init(_ lines: [String]) throws(CNBFailure) {
        guard lines.count <= Self.maximumPatterns else {
            throw CNBFailure(.sourceUnusable, "project.toml has more than \(Self.maximumPatterns) patterns; use fewer.")
        }
        for line in lines {
            var text = Array(line.utf8)[...]
            while text.last == UInt8(ascii: " ") { text.removeLast() }
            guard text.count <= Self.maximumBytes else {
                throw CNBFailure(.sourceUnusable, "project.toml has a pattern of more than \(Self.maximumBytes) bytes.")
            }
            if text.isEmpty || text.first == UInt8(ascii: "#") { continue }
            let negated = text.first == UInt8(ascii: "!")
            if negated { text.removeFirst() }
            let foldersOnly = text.last == UInt8(ascii: "/")
            if foldersOnly { text.removeLast() }
            let anchored = text.contains(UInt8(ascii: "/"))
            let parts = text.split(separator: UInt8(ascii: "/")).map(Array.init)
            guard !parts.isEmpty, !parts.contains(Array("..".utf8)) else {
                throw CNBFailure(
                    .sourceUnusable,
                    "project.toml: the pattern '\(line)' can't be used: it names nothing inside the source.")
            }
            patterns.append(
                Pattern(
                    parts: anchored ? parts : [Array("**".utf8)] + parts, negated: negated, foldersOnly: foldersOnly))
        }
    }

    /// - Parameter path: relative to the source's root.
    func matches(_ path: [[UInt8]], isFolder: Bool) -> Bool {
        for pattern in patterns.reversed() where isFolder || !pattern.foldersOnly {
            if Self.match(pattern.parts[...], path[...]) { return !pattern.negated }
        }
        return false
    }

    private static func match(_ pattern: ArraySlice<[UInt8]>, _ path: ArraySlice<[UInt8]>) -> Bool {
        // Where a `**` was met last, to take one part more if the rest does not fit: linear in memory, and in time bounded
        // by the product of both lengths.
        var at = (pattern: pattern.startIndex, path: path.startIndex)
        var retry: (pattern: Int, path: Int)?
        while at.path < path.endIndex {
            if at.pattern < pattern.endIndex, pattern[at.pattern] == Array("**".utf8) {
                retry = (at.pattern + 1, at.path)
                at.pattern += 1
                // At the end it stands for what is inside, not for the folder itself.
                if at.pattern == pattern.endIndex { return at.path > path.startIndex || pattern.count == 1 }
            } else if at.pattern < pattern.endIndex, matchName(pattern[at.pattern], path[at.path]) {
                at = (at.pattern + 1, at.path + 1)
            } else if let back = retry, back.path < path.endIndex {
                retry = (back.pattern, back.path + 1)
                at = (back.pattern, back.path + 1)
            } else {
                return false
            }
        }
        return at.pattern == pattern.endIndex
    }

    /// `*`, `?`, `[a-z]`, `[!a]` and `\` as in `.gitignore`.
    static func matchName(_ pattern: [UInt8], _ name: [UInt8]) -> Bool {
        var p = 0
        var n = 0
        var star: (p: Int, n: Int)?
        while n < name.count {
            if p < pattern.count, pattern[p] == UInt8(ascii: "*") {
                star = (p + 1, n)
                p += 1
            } else if p < pattern.count, let next = matchOne(pattern, p, name[n]) {
                p = next
                n += 1
            } else if let back = star {
                star = (back.p, back.n + 1)
                p = back.p
                n = back.n + 1
            } else {
                return false
            }
        }
        while p < pattern.count && pattern[p] == UInt8(ascii: "*") { p += 1 }
        return p == pattern.count
    }

    /// The place behind what matched; nil if it did not.
    private static func matchOne(_ pattern: [UInt8], _ at: Int, _ byte: UInt8) -> Int? {
        switch pattern[at] {
        case UInt8(ascii: "?"): return at + 1
        case UInt8(ascii: "\\") where at + 1 < pattern.count: return pattern[at + 1] == byte ? at + 2 : nil
        case UInt8(ascii: "["):
            var p = at + 1
            let negated = p < pattern.count && (pattern[p] == UInt8(ascii: "!") || pattern[p] == UInt8(ascii: "^"))
            if negated { p += 1 }
            var found = false
            let start = p
            while p < pattern.count, pattern[p] != UInt8(ascii: "]") || p == start {
                if p + 2 < pattern.count, pattern[p + 1] == UInt8(ascii: "-"), pattern[p + 2] != UInt8(ascii: "]") {
                    found = found || (pattern[p] <= byte && byte <= pattern[p + 2])
                    p += 3
                } else {
                    found = found || pattern[p] == byte
                    p += 1
                }
            }
            // Without its end it is an ordinary character.
            guard p < pattern.count else { return byte == UInt8(ascii: "[") ? at + 1 : nil }
            return found != negated ? p + 1 : nil
        case let other: return other == byte ? at + 1 : nil
        }
    }

    /// Removes from a source what a `project.toml` leaves out. Links are removed and never followed. The file itself stays.
    /// - Parameter app: absolute path of the source.
    /// - Returns: how many files, links and folders were removed.
    /// - Throws: `sourceUnusable` for patterns that can't be used.
    public static func apply(_ project: ProjectDescriptor, to app: String) throws(CNBFailure) -> Int {
        guard !project.include.isEmpty || !project.exclude.isEmpty else { return 0 }
        let keeps = !project.include.isEmpty
        let selection = try SourceSelection(keeps ? project.include : project.exclude)
        return try onDisk { () throws(SystemError) in try selection.thin(app, [], keeps: keeps).removed }
    }

    /// - Returns: how many entries went, and whether anything is left in the folder.
    private func thin(_ folder: String, _ path: [[UInt8]], keeps: Bool) throws(SystemError) -> (
        removed: Int, left: Bool
    ) {
        var removed = 0
        var left = false
        for name in try Files.list(folder) {
            if path.isEmpty && name == "project.toml" {
                left = true
                continue
            }
            let inner = path + [Array(name.utf8)]
            let isFolder = FileFacts("\(folder)/\(name)")?.isFolder == true
            if matches(inner, isFolder: isFolder) {
                if keeps {
                    left = true
                } else {
                    try LayerTree.remove("\(folder)/\(name)")
                    removed += 1
                }
            } else if isFolder {
                let below = try thin("\(folder)/\(name)", inner, keeps: keeps)
                removed += below.removed
                if keeps && !below.left {
                    try LayerTree.remove("\(folder)/\(name)")
                } else {
                    left = true
                }
            } else if keeps {
                try LayerTree.remove("\(folder)/\(name)")
                removed += 1
            } else {
                left = true
            }
        }
        return (removed, left)
    }
}
