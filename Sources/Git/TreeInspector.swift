import CLibGit2
import Domain

/// Walks a tree once and notes what decides whether it can be built.
final class TreeInspector {
    /// More entries than this and the walk gives up: no source is that large.
    static let maximumEntries = 1_000_000

    private let database: OpaquePointer
    private var facts = TreeFacts(
        files: 0, totalBytes: 0, largestFile: nil, largestBytes: 0, lfsPointers: [], gitlinks: [], hasGitmodules: false)
    private var failure: PaaSError?
    private var entries = 0

    init(repository: OpaquePointer) throws(PaaSError) {
        var raw: OpaquePointer?
        try GitLibrary.check("open object database", git_repository_odb(&raw, repository))
        guard let raw else { throw PaaSError(.internal, "libgit2 opened no object database") }
        database = raw
    }

    deinit { git_odb_free(database) }

    func inspect(_ tree: OpaquePointer?) throws(PaaSError) -> TreeFacts {
        let result = git_tree_walk(
            tree, GIT_TREEWALK_PRE,
            { root, entry, payload in
                guard let root, let entry, let payload else { return -1 }
                // SAFETY: the payload is this inspector, alive for the whole walk below.
                return Unmanaged<TreeInspector>.fromOpaque(payload).takeUnretainedValue()
                    .visit(root: String(cString: root), entry: entry)
            }, Unmanaged.passUnretained(self).toOpaque())
        if let failure { throw failure }
        try GitLibrary.check("walk tree", result)
        // The walk sorts folders as git does: `a/` behind `a.b`.
        facts.gitlinks.sort { $0.path < $1.path }
        return facts
    }

    private func visit(root: String, entry: OpaquePointer) -> Int32 {
        entries += 1
        guard entries <= Self.maximumEntries else {
            failure = PaaSError(.appFailed, "the source has more than \(Self.maximumEntries) files")
            return -1
        }
        guard let rawName = git_tree_entry_name(entry), let id = git_tree_entry_id(entry) else { return -1 }
        let path = root + String(cString: rawName)
        switch git_tree_entry_type(entry) {
        case GIT_OBJECT_COMMIT:
            guard facts.gitlinks.count < TreeFacts.maximumGitlinks else {
                failure = PaaSError(
                    .appFailed,
                    "the source has more than \(TreeFacts.maximumGitlinks) submodules; put some into one repository")
                return -1
            }
            facts.gitlinks.append(Gitlink(path: path, commit: GitLibrary.hex(id)))
        case GIT_OBJECT_BLOB:
            facts.files += 1
            if path == ".gitmodules" { facts.hasGitmodules = true }
            var size = 0
            var type = GIT_OBJECT_INVALID
            guard git_odb_read_header(&size, &type, database, id) == 0 else {
                failure = PaaSError(.appFailed, "the content of \(Names.quoted(path)) is missing from the push")
                return -1
            }
            facts.totalBytes += Int64(size)
            if Int64(size) > facts.largestBytes {
                facts.largestBytes = Int64(size)
                facts.largestFile = path
            }
            // A pointer file has a version line, an oid line and a size line: never less than 100, never 1,024 bytes.
            if (100..<1024).contains(size), facts.lfsPointers.count < 10, isPointer(id) {
                facts.lfsPointers.append(path)
            }
        default: break
        }
        return 0
    }

    private func isPointer(_ id: UnsafePointer<git_oid>) -> Bool {
        var object: OpaquePointer?
        guard git_odb_read(&object, database, id) == 0 else { return false }
        defer { git_odb_object_free(object) }
        guard let data = git_odb_object_data(object) else { return false }
        let bytes = UnsafeRawBufferPointer(start: data, count: git_odb_object_size(object))
        return bytes.starts(with: Array("version https://git-lfs.github.com/spec/".utf8))
    }
}
