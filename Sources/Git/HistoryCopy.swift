import Domain
import Glibc
import OS

/// Makes the `.git` of a checkout, for programs that ask git about their own source (`git describe` and what is built on it).
///
/// It is a shallow repository of its own: no hooks, no remote, no link to the app's repository. It holds the commit, its history
/// back to the nearest tag if that is at most `furthestTag` commits away, and the tags of these commits. Without such a tag it is
/// the commit alone.
struct HistoryCopy {
    /// How many commits are taken along for the sake of a tag.
    static let furthestTag = 100

    let repository: String
    let commit: String
    let directory: String

    init(repository: String, commit: String, into directory: String) {
        self.repository = repository
        self.commit = commit
        self.directory = directory
    }

    private struct Tag {
        var ref: String
        var object: String
        /// What a tag object leads to; nil if `object` is the commit itself.
        var peeled: String?
    }

    func make(_ kept: KeptHistory) throws(PaaSError) {
        if let branch = kept.branch { try GitRules.validateRef("refs/heads/\(branch)") }
        let (commits, shallow) = try history()
        let tags = try tags(of: commits)
        do throws(SystemError) {
            try git(
                ["init", "-q", "--template=", "--initial-branch=\(kept.branch ?? "main")", directory], at: nil)
            try write("shallow", shallow.map { $0 + "\n" }.joined())
            // Names an own file of objects in the new repository: nothing is borrowed.
            let wanted = shallow.map { "--shallow \($0)" } + [commit] + tags.map(\.object)
            try git(
                ["pack-objects", "-q", "--revs", "--shallow", "--threads=2", "\(copy)/objects/pack/pack"],
                at: repository, input: wanted.map { $0 + "\n" }.joined())
            var refs = tags
            if let branch = kept.branch {
                refs.append(Tag(ref: "refs/heads/\(branch)", object: commit))
            } else {
                try write("HEAD", commit + "\n")
            }
            try write("packed-refs", Self.packedRefs(refs))
            try git(["read-tree", commit], at: copy)
        } catch {
            if error.errno == ENOSPC {
                throw PaaSError(
                    .appFailed, "the source and its history (KEEP_GIT_DIR) do not fit into the build volume")
            }
            throw PaaSError(
                .internal, "the .git of the checkout can't be made; without it: paasctl config unset KEEP_GIT_DIR",
                cause: error)
        }
    }

    private var copy: String { directory + "/.git" }

    private func write(_ name: String, _ text: String) throws(SystemError) {
        guard !text.isEmpty else { return }
        try OwnedFD.open("\(copy)/\(name)", O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW, mode: 0o644).writeAll(text.utf8)
    }

    /// The commits that are taken along, and those of them whose parents stay behind.
    private func history() throws(PaaSError) -> (commits: Set<String>, shallow: [String]) {
        do throws(SystemError) {
            var parents = [commit: try parents(of: commit)]
            if let tag = try nearestTag() {
                let listed = try lines(
                    ["rev-list", "--parents", "--max-count=\(Self.furthestTag + 1)", commit, "^\(tag)"])
                if listed.count <= Self.furthestTag {
                    parents[tag] = try self.parents(of: tag)
                    for line in listed {
                        let ids = line.split(separator: " ").map(String.init)
                        if let id = ids.first { parents[id] = Array(ids.dropFirst()) }
                    }
                }
            }
            // Where the app's own history ends, git shows no parents.
            let cutOff = Set(try ShallowFile(repository: repository).read())
            let shallow = parents.filter { id, parents in
                cutOff.contains(id) || parents.contains { parent in !isTaken(parent) }
            }
            func isTaken(_ id: String) -> Bool { parents[id] != nil }
            return (Set(parents.keys), shallow.keys.sorted())
        } catch {
            throw PaaSError(.internal, "the history of \(commit) can't be read", cause: error)
        }
    }

    private func parents(of commit: String) throws(SystemError) -> [String] {
        try lines(["rev-list", "--parents", "--max-count=1", commit]).first.map {
            $0.split(separator: " ").dropFirst().map(String.init)
        } ?? []
    }

    /// The commit of the tag that `git describe` would name; nil if there is none.
    private func nearestTag() throws(SystemError) -> String? {
        let found = try run(["describe", "--tags", "--abbrev=0", commit], at: repository)
        guard found.status == 0 else { return nil }
        let name = found.text.split(separator: "\n").first.map(String.init) ?? ""
        return try lines(["rev-parse", "--verify", "-q", "--end-of-options", "refs/tags/\(name)^{commit}"]).first
    }

    private func tags(of commits: Set<String>) throws(PaaSError) -> [Tag] {
        do throws(SystemError) {
            return try lines(["for-each-ref", "--format=%(objectname) %(*objectname) %(refname)", "refs/tags"])
                .compactMap {
                    line in
                    let parts = line.split(separator: " ", maxSplits: 2, omittingEmptySubsequences: false).map(
                        String.init)
                    guard parts.count == 3, commits.contains(parts[1].isEmpty ? parts[0] : parts[1]) else { return nil }
                    return Tag(ref: parts[2], object: parts[0], peeled: parts[1].isEmpty ? nil : parts[1])
                }
        } catch {
            throw PaaSError(.internal, "the tags of the app can't be read", cause: error)
        }
    }

    /// git's own form (gitrepository-layout(5)).
    private static func packedRefs(_ refs: [Tag]) -> String {
        "# pack-refs with: peeled fully-peeled sorted \n"
            + refs.sorted { $0.ref.utf8.lexicographicallyPrecedes($1.ref.utf8) }.map { ref in
                "\(ref.object) \(ref.ref)\n" + (ref.peeled.map { "^\($0)\n" } ?? "")
            }.joined()
    }

    // MARK: git

    private func lines(_ arguments: [String]) throws(SystemError) -> [String] {
        try git(arguments, at: repository).split(separator: "\n").map(String.init)
    }

    @discardableResult
    private func git(_ arguments: [String], at folder: String?, input: String = "") throws(SystemError) -> String {
        let result = try run(arguments, at: folder, input: input)
        guard result.status == 0 else {
            let reason = result.errorText.split(separator: "\n").last ?? "it said nothing"
            let isFull = result.errorText.contains("No space left on device")
            throw SystemError("git \(arguments.first ?? ""): \(reason)", errno: isFull ? ENOSPC : EIO)
        }
        return result.text
    }

    private func run(_ arguments: [String], at folder: String?, input: String = "") throws(SystemError)
        -> Command.Result
    {
        var spec = ProcessSpec(
            "/usr/bin/git", ["-c", "core.hooksPath=/dev/null", "-c", "core.symlinks=true"] + arguments,
            environment: GitServer.environment)
        spec.environment["GIT_DIR"] = folder
        if folder == copy { spec.environment["GIT_WORK_TREE"] = directory }
        spec.parentDeathSignal = SIGKILL
        return try Command(spec, timeoutSeconds: 240, outputLimit: 64 << 20).run(input: Array(input.utf8))
    }
}
