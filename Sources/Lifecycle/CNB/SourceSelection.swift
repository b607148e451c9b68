import Domain
import OS

/// What `include` and `exclude` of `project.toml` mean: patterns as in `.gitignore`, of which the last that matches counts.
public struct SourceSelection: Sendable {
    /// Of one list, and of one pattern in bytes.
    static let maximumPatterns = 1_000
    static let maximumBytes = 1_000

    private var patterns: [(glob: GlobPattern, negated: Bool)] = []

    /// - Throws: `sourceUnusable` for a pattern that can match nothing, or too many of them.
    init(_ lines: [String]) throws(CNBFailure) {
        guard lines.count <= Self.maximumPatterns else {
            throw CNBFailure(.sourceUnusable, "project.toml has more than \(Self.maximumPatterns) patterns; use fewer.")
        }
        for line in lines {
            var text = Array(line.utf8)[...]
            while text.last == UInt8(ascii: " ") { text.removeLast() }
            if text.isEmpty || text.first == UInt8(ascii: "#") { continue }
            let negated = text.first == UInt8(ascii: "!")
            if negated { text.removeFirst() }
            guard text.count <= Self.maximumBytes, let glob = GlobPattern(Array(text)),
                !text.split(separator: UInt8(ascii: "/")).contains(where: { $0.elementsEqual("..".utf8) })
            else {
                throw CNBFailure(
                    .sourceUnusable,
                    "project.toml: the pattern \(Names.quoted(line)) can't be used: it names nothing inside the source."
                )
            }
            patterns.append((glob, negated))
        }
    }

    /// - Parameter path: names from the source's root on.
    func matches(_ path: [[UInt8]], isFolder: Bool) -> Bool {
        patterns.last { $0.glob.matches(path, isFolder: isFolder) }.map { !$0.negated } ?? false
    }

    /// Removes from a source what a `project.toml` leaves out. Links are removed and never followed. The file itself stays.
    /// - Parameter app: absolute path of the source.
    /// - Returns: how many files, links and folders were removed.
    /// - Throws: `sourceUnusable` for patterns that can't be used.
    public static func apply(_ project: ProjectDescriptor, to app: String) throws(CNBFailure) -> Int {
        guard !project.include.isEmpty || !project.exclude.isEmpty else { return 0 }
        let keeps = !project.include.isEmpty
        let selection = try SourceSelection(keeps ? project.include : project.exclude)
        return try onDisk { () throws(SystemError) in try selection.thin(RawPath(app), [], keeps: keeps).removed }
    }

    /// - Returns: how many entries went, and whether anything is left in the folder.
    private func thin(_ folder: RawPath, _ path: [[UInt8]], keeps: Bool) throws(SystemError) -> (
        removed: Int, left: Bool
    ) {
        var removed = 0
        var left = false
        for raw in try folder.names() {
            let name = raw.dropLast().map { UInt8(bitPattern: $0) }
            let entry = folder.appending(raw)
            if path.isEmpty && name.elementsEqual("project.toml".utf8) {
                left = true
                continue
            }
            let inner = path + [name]
            let isFolder = entry.facts?.isFolder == true
            if matches(inner, isFolder: isFolder) {
                if keeps {
                    left = true
                } else {
                    try LayerTree.remove(entry)
                    removed += 1
                }
            } else if isFolder {
                let below = try thin(entry, inner, keeps: keeps)
                removed += below.removed
                if keeps && !below.left {
                    try LayerTree.remove(entry)
                } else {
                    left = true
                }
            } else if keeps {
                try LayerTree.remove(entry)
                removed += 1
            } else {
                left = true
            }
        }
        return (removed, left)
    }
}
