import CLibGit2
import Domain
import Glibc
import OS

/// One bare repository, opened for one piece of work on one thread.
struct Repository: ~Copyable {
    private let handle: OpaquePointer
    private let path: String

    init(path: String) throws(PaaSError) {
        self.path = path
        var raw: OpaquePointer?
        try GitLibrary.check("open repository", git_repository_open_bare(&raw, path))
        guard let raw else { throw PaaSError(.internal, "libgit2 opened no repository") }
        handle = raw
    }

    deinit { git_repository_free(handle) }

    /// What stands between a repository's name and a number while it is being made.
    static let unfinished = ".new-"

    /// Makes it with `HEAD` on `main`, whole and durable or not at all. Fine if it is there.
    static func create(path: String) throws(PaaSError) {
        if Files.exists(path) {
            _ = try Repository(path: path)
            return
        }
        let temporary = "\(path)\(unfinished)\(getpid())"
        try initialize(temporary)
        do throws(SystemError) {
            try syncTree(temporary)
            do throws(SystemError) { try Files.rename(temporary, path) } catch {
                // Another worker was quicker.
                guard error.errno == ENOTEMPTY || error.errno == EEXIST else { throw error }
                try Files.removeTree(temporary)
            }
            try Files.syncFolder(of: path)
        } catch {
            throw error.asPaaSError("the app's repository can't be made")
        }
    }

    private static func initialize(_ path: String) throws(PaaSError) {
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

    private static func syncTree(_ folder: String) throws(SystemError) {
        for name in try Files.list(folder) {
            let path = "\(folder)/\(name)"
            var info = stat()
            try Syscall.check("lstat \(path)") { lstat(path, &info) }
            if info.st_mode & S_IFMT == S_IFDIR {
                try syncTree(path)
            } else {
                try OwnedFD.open(path, O_RDONLY | O_NOFOLLOW).sync()
            }
        }
        try OwnedFD.open(folder, O_RDONLY | O_DIRECTORY).sync()
    }

    /// The library syncs the file of a ref and its folder, but not the folders that it made above.
    private borrowing func syncFolders(of ref: String) throws(PaaSError) {
        var entry = "\(path)/\(ref)"
        do throws(SystemError) {
            while entry != path {
                // A deleted ref takes the folders with it that became empty.
                if Files.exists(Files.parent(entry)) { try Files.syncFolder(of: entry) }
                entry = Files.parent(entry)
            }
        } catch {
            throw error.asPaaSError("\(ref) can't be made durable")
        }
    }

    /// Pushed packs are written through before they are moved into place; this makes the move last as well.
    borrowing func syncObjects() throws(PaaSError) {
        do throws(SystemError) { try Files.syncFolder(of: "\(path)/objects/pack/any") } catch {
            throw error.asPaaSError("the pushed objects can't be made durable")
        }
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
            return try syncFolders(of: ref)
        }
        var target = try GitLibrary.objectID(new)
        if let old {
            var expected = try GitLibrary.objectID(old)
            try GitLibrary.check(
                "move \(ref)", git_reference_create_matching(&reference, handle, ref, &target, 1, &expected, nil))
        } else {
            try GitLibrary.check("make \(ref)", git_reference_create(&reference, handle, ref, &target, 0, nil))
        }
        try syncFolders(of: ref)
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
            // Bytes as they were committed: no line ends, keywords or filters of `.gitattributes`.
            options.disable_filters = 1
            var index: OpaquePointer?
            try GitLibrary.check("read tree", git_index_new(&index))
            defer { git_index_free(index) }
            try GitLibrary.check("read tree", git_index_read_tree(index, tree))
            let submodules = try Self.takeSubmodules(out: index)
            let result = directory.withCString { target in
                options.target_directory = target
                return git_checkout_index(handle, index, &options)
            }
            if result < 0 && errno == ENOSPC {
                throw PaaSError(.appFailed, "the source does not fit into the build volume")
            }
            try GitLibrary.check("check out \(commit)", result)
            do throws(SystemError) {
                for path in submodules { try Self.makeFolder(path, in: directory) }
            } catch {
                throw error.asPaaSError("the folders of submodules can't be made")
            }
        }
    }

    /// The library looks for a working tree to check submodules out; here each is an empty folder.
    private static func takeSubmodules(out index: OpaquePointer?) throws(PaaSError) -> [String] {
        var paths: [String] = []
        for position in 0..<git_index_entrycount(index) {
            guard let entry = git_index_get_byindex(index, position),
                entry.pointee.mode == UInt32(GIT_FILEMODE_COMMIT.rawValue)
            else { continue }
            paths.append(String(cString: entry.pointee.path))
        }
        for path in paths { try GitLibrary.check("read tree", git_index_remove(index, path, 0)) }
        return paths
    }

    /// Makes a folder and those above it; a link on the way is an error.
    private static func makeFolder(_ path: String, in directory: String) throws(SystemError) {
        var folder = try OwnedFD.open(directory, O_RDONLY | O_DIRECTORY)
        for part in path.split(separator: "/").map(String.init) {
            let parent = folder.raw
            if mkdirat(parent, part, 0o755) != 0 && errno != EEXIST { throw SystemError.last("mkdir \(part)") }
            folder = OwnedFD(
                try Syscall.check("open \(part)") {
                    openat(parent, part, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
                })
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

    /// - Throws: `notFound` for what is not here, `invalid` for what is here but no commit.
    borrowing func requireCommit(_ commit: String) throws(PaaSError) {
        try withCommit(commit) { (_) throws(PaaSError) in }
    }

    private borrowing func withCommit<T>(_ commit: String, _ body: (OpaquePointer) throws(PaaSError) -> T)
        throws(PaaSError) -> T
    {
        var oid = try GitLibrary.objectID(commit)
        var raw: OpaquePointer?
        let result = git_commit_lookup(&raw, handle, &oid)
        if result == GIT_ENOTFOUND.rawValue {
            // The library says the same of an object of another type.
            if let type = try typeOfObject(&oid) {
                throw PaaSError(
                    .invalid,
                    "\(commit.prefix(12)) is a \(type), not a commit; of a tag, push what it names: git push paas TAG^{}:BRANCH"
                )
            }
            throw PaaSError(.notFound, "commit \(commit) is not in the app's repository; push it first")
        }
        try GitLibrary.check("read commit", result)
        guard let raw else { throw PaaSError(.internal, "libgit2 returned no commit") }
        defer { git_commit_free(raw) }
        return try body(raw)
    }

    private borrowing func typeOfObject(_ oid: UnsafePointer<git_oid>) throws(PaaSError) -> String? {
        var database: OpaquePointer?
        try GitLibrary.check("open object database", git_repository_odb(&database, handle))
        defer { git_odb_free(database) }
        var size = 0
        var type = GIT_OBJECT_INVALID
        let result = git_odb_read_header(&size, &type, database, oid)
        if result == GIT_ENOTFOUND.rawValue { return nil }
        try GitLibrary.check("look up object", result)
        return git_object_type2string(type).map { String(cString: $0) } ?? "object"
    }
}
