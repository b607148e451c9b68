import CLibGit2
import Domain
import Glibc

/// One bare repository, opened for one piece of work on one thread.
struct Repository: ~Copyable {
    private let handle: OpaquePointer

    init(path: String) throws(PaaSError) {
        var raw: OpaquePointer?
        try GitLibrary.check("open repository", git_repository_open_bare(&raw, path))
        guard let raw else { throw PaaSError(.internal, "libgit2 opened no repository") }
        handle = raw
    }

    deinit { git_repository_free(handle) }

    /// Makes it with `HEAD` on `main`. Fine if it is there.
    static func create(path: String) throws(PaaSError) {
        var raw: OpaquePointer?
        var options = git_repository_init_options()
        git_repository_init_options_init(&options, UInt32(GIT_REPOSITORY_INIT_OPTIONS_VERSION))
        options.flags = GIT_REPOSITORY_INIT_BARE.rawValue | GIT_REPOSITORY_INIT_MKPATH.rawValue
        options.mode = 0o700
        let result = "refs/heads/main".withCString { head in
            options.initial_head = head
            return git_repository_init_ext(&raw, path, &options)
        }
        try GitLibrary.check("make repository", result)
        git_repository_free(raw)
    }

    borrowing func readRef(_ ref: String) throws(PaaSError) -> String? {
        try GitRules.validateRef(ref)
        var oid = git_oid()
        let result = git_reference_name_to_id(&oid, handle, ref)
        if result == GIT_ENOTFOUND.rawValue { return nil }
        try GitLibrary.check("read \(ref)", result)
        return GitLibrary.hex(&oid)
    }

    /// Compare-and-swap; `old` nil: it must not exist; `new` nil: it goes.
    borrowing func updateRef(_ ref: String, old: String?, new: String?) throws(PaaSError) {
        try GitRules.validateRef(ref)
        let present = try readRef(ref)
        guard present == old else {
            throw PaaSError(.conflict, "\(ref) is at \(present ?? "nothing"), not at \(old ?? "nothing")")
        }
        var reference: OpaquePointer?
        defer { git_reference_free(reference) }
        guard let new else {
            guard old != nil else { return }
            try GitLibrary.check("look up \(ref)", git_reference_lookup(&reference, handle, ref))
            // Fails with GIT_EMODIFIED if it changed since the look-up.
            try GitLibrary.check("delete \(ref)", git_reference_delete(reference))
            return
        }
        var target = try GitLibrary.objectID(new)
        if let old {
            var expected = try GitLibrary.objectID(old)
            try GitLibrary.check(
                "move \(ref)", git_reference_create_matching(&reference, handle, ref, &target, 1, &expected, nil))
        } else {
            try GitLibrary.check("make \(ref)", git_reference_create(&reference, handle, ref, &target, 0, nil))
        }
    }

    borrowing func refs(under prefix: String) throws(PaaSError) -> [String] {
        var iterator: OpaquePointer?
        try GitLibrary.check("list refs", git_reference_iterator_glob_new(&iterator, handle, prefix + "*"))
        defer { git_reference_iterator_free(iterator) }
        var names: [String] = []
        var name: UnsafePointer<CChar>?
        while true {
            let result = git_reference_next_name(&name, iterator)
            if result == GIT_ITEROVER.rawValue { return names }
            try GitLibrary.check("list refs", result)
            if let name { names.append(String(cString: name)) }
        }
    }

    borrowing func setHead(branch: String) throws(PaaSError) {
        let ref = "refs/heads/\(branch)"
        try GitRules.validateRef(ref)
        try GitLibrary.check("set HEAD", git_repository_set_head(handle, ref))
    }

    /// Full id of the commit that a full or short id, a branch, a tag or a full ref name leads to.
    borrowing func resolve(_ revision: String) throws(PaaSError) -> String {
        try GitRules.validateRevision(revision)
        var object: OpaquePointer?
        defer { git_object_free(object) }
        // Names are looked up as what they are: revision operators are not for callers from outside.
        let names = revision.hasPrefix("refs/") ? [revision] : ["refs/heads/\(revision)", "refs/tags/\(revision)"]
        var oid = git_oid()
        var result = GIT_ENOTFOUND.rawValue
        for name in names where result == GIT_ENOTFOUND.rawValue {
            result = git_reference_name_to_id(&oid, handle, name)
        }
        if result == 0 {
            result = git_object_lookup(&object, handle, &oid, GIT_OBJECT_ANY)
        } else if result == GIT_ENOTFOUND.rawValue && GitRules.isHexPrefix(revision) {
            result = git_revparse_single(&object, handle, revision)
        }
        if result == GIT_ENOTFOUND.rawValue {
            throw PaaSError(.notFound, "no commit \(Names.quoted(revision)) in the app's repository; push it first")
        }
        try GitLibrary.check("find \(revision)", result)
        var commit: OpaquePointer?
        defer { git_object_free(commit) }
        guard git_object_peel(&commit, object, GIT_OBJECT_COMMIT) == 0, let id = git_object_id(commit) else {
            throw PaaSError(.invalid, "\(Names.quoted(revision)) is not a commit")
        }
        return GitLibrary.hex(id)
    }

    borrowing func commitInfo(_ commit: String) throws(PaaSError) -> CommitInfo {
        try withCommit(commit) { (raw) throws(PaaSError) in
            guard let tree = git_commit_tree_id(raw), let author = git_commit_author(raw) else {
                throw PaaSError(.internal, "commit \(commit) can't be read")
            }
            let subject = git_commit_summary(raw).map { String(cString: $0) } ?? ""
            let name = author.pointee.name.map { String(cString: $0) } ?? ""
            return CommitInfo(
                id: commit, tree: GitLibrary.hex(tree), subject: String(subject.prefix(200)),
                author: String(name.prefix(100)),
                time: Timestamp(microseconds: git_commit_time(raw) &* 1_000_000))
        }
    }

    /// Checks the tree out into an existing empty directory. Links are made, not followed; nothing of git is left in it.
    borrowing func checkout(_ commit: String, into directory: String) throws(PaaSError) {
        let handle = handle
        try withCommit(commit) { (raw) throws(PaaSError) in
            var tree: OpaquePointer?
            try GitLibrary.check("read tree", git_commit_tree(&tree, raw))
            defer { git_tree_free(tree) }
            var options = git_checkout_options()
            try GitLibrary.check(
                "prepare checkout", git_checkout_options_init(&options, UInt32(GIT_CHECKOUT_OPTIONS_VERSION)))
            options.checkout_strategy =
                GIT_CHECKOUT_FORCE.rawValue | GIT_CHECKOUT_DONT_UPDATE_INDEX.rawValue
                | GIT_CHECKOUT_DONT_WRITE_INDEX.rawValue | GIT_CHECKOUT_DISABLE_PATHSPEC_MATCH.rawValue
            let result = directory.withCString { target in
                options.target_directory = target
                return git_checkout_tree(handle, tree, &options)
            }
            if result < 0 && errno == ENOSPC {
                throw PaaSError(.appFailed, "the source does not fit into the build volume")
            }
            try GitLibrary.check("check out \(commit)", result)
        }
    }

    borrowing func inspect(_ commit: String) throws(PaaSError) -> TreeFacts {
        let handle = handle
        return try withCommit(commit) { (raw) throws(PaaSError) in
            var tree: OpaquePointer?
            try GitLibrary.check("read tree", git_commit_tree(&tree, raw))
            defer { git_tree_free(tree) }
            return try TreeInspector(repository: handle).inspect(tree)
        }
    }

    /// Whether the commit is here and at least one of its parents is not: then the list of shallow commits must name it.
    borrowing func isCutOff(_ commit: String) throws(PaaSError) -> Bool {
        var database: OpaquePointer?
        try GitLibrary.check("open object database", git_repository_odb(&database, handle))
        defer { git_odb_free(database) }
        var oid = try GitLibrary.objectID(commit)
        var object: OpaquePointer?
        // Read raw: newer versions of the library hide the parents of commits that the list names.
        guard git_odb_read(&object, database, &oid) == 0 else { return false }
        defer { git_odb_object_free(object) }
        guard git_odb_object_type(object) == GIT_OBJECT_COMMIT, let data = git_odb_object_data(object) else {
            return false
        }
        let text = String(
            decoding: UnsafeRawBufferPointer(start: data, count: git_odb_object_size(object)), as: UTF8.self)
        for line in text.split(separator: "\n", omittingEmptySubsequences: false) {
            if line.isEmpty { break }
            guard line.hasPrefix("parent ") else { continue }
            var parent = try GitLibrary.objectID(String(line.dropFirst(7)))
            if git_odb_exists(database, &parent) == 0 { return true }
        }
        return false
    }

    private borrowing func withCommit<T>(_ commit: String, _ body: (OpaquePointer) throws(PaaSError) -> T)
        throws(PaaSError) -> T
    {
        var oid = try GitLibrary.objectID(commit)
        var raw: OpaquePointer?
        let result = git_commit_lookup(&raw, handle, &oid)
        if result == GIT_ENOTFOUND.rawValue {
            throw PaaSError(.notFound, "commit \(commit) is not in the app's repository; push it first")
        }
        try GitLibrary.check("read commit", result)
        guard let raw else { throw PaaSError(.internal, "libgit2 returned no commit") }
        defer { git_commit_free(raw) }
        return try body(raw)
    }
}
