import Domain
import Glibc
import OS

/// Fetches one commit of a foreign repository with git's own program: shallow where the server can, without credentials of
/// anybody, without questions, bounded in time.
struct GitFetch: Sendable {
    struct Limits: Sendable {
        /// Of the whole fetch.
        var seconds: Int
        /// Below 1000 bytes a second for so long, a transfer is given up.
        var slowSeconds: Int
        /// Of the files in the tree, and of the pack, in bytes.
        var bytes: Int64
        var files: Int

        static let buildpack = Limits(seconds: 120, slowSeconds: 30, bytes: 512 << 20, files: 50_000)
    }

    /// What was asked for, as the server has it.
    struct Commit: Sendable, Hashable {
        var id: String
        var tree: String
    }

    let url: FetchURL
    /// Empty folder for git's own files.
    let gitFolder: String
    /// How registries are reached (proxies, certificates).
    let environment: [String: String]
    let limits: Limits
    let home: String

    /// Resolves `ref` (nil: HEAD) and fetches it into `gitFolder`. Nothing is checked out.
    func fetch(_ ref: String?) throws(FetchFailure) -> Commit {
        let deadline = Monotonic.now() + Double(limits.seconds)
        _ = try git(["init", "-q", "--template=", "."], deadline)
        if let ref, GitObject.isID(ref) { return try fetchCommit(ref, deadline) }
        let name = try resolve(ref, deadline)
        try fetchRefs([name], deadline)
        return try commit("FETCH_HEAD", deadline)
    }

    /// One commit by its id. Not every server gives out what no ref points to; then all branches and tags are fetched.
    func fetchCommit(_ id: String, _ deadline: Double? = nil) throws(FetchFailure) -> Commit {
        let deadline = deadline ?? Monotonic.now() + Double(limits.seconds)
        if !Files.exists(gitFolder + "/HEAD") { _ = try git(["init", "-q", "--template=", "."], deadline) }
        let shallow = try run(["fetch", "-q", "--no-tags", "--depth", "1", "--", url.withoutSecrets, id], deadline)
        if shallow.status != 0 {
            let words = words(of: shallow)
            guard
                words.contains("shallow") || words.contains("unadvertised") || words.contains("not our ref")
                    || words.contains("allow request") || words.contains("remote ref")
            else { throw failure(shallow) }
            _ = try git(
                [
                    "fetch", "-q", "--", url.withoutSecrets, "+refs/heads/*:refs/remotes/origin/*",
                    "+refs/tags/*:refs/tags/*",
                ],
                deadline)
        }
        let found = try run(["rev-parse", "--verify", "-q", id + "^{commit}"], deadline)
        guard found.status == 0 else { throw .refNotFound(id) }
        let commit = try commit(id, deadline)
        guard commit.id == id else { throw .refNotFound(id) }
        return commit
    }

    /// The tags of one commit, for a source that keeps its `.git`: programs make their version of them.
    func fetchTags(of commit: Commit) throws(FetchFailure) {
        let deadline = Monotonic.now() + Double(limits.seconds)
        let listed = try run(["ls-remote", "--tags", "--", url.withoutSecrets], deadline, outputLimit: 16 << 20)
        guard listed.status == 0 else { throw failure(listed) }
        var names: [String] = []
        for line in listed.text.split(whereSeparator: \.isNewline) {
            let parts = line.split(separator: "\t")
            guard parts.count == 2, parts[0] == commit.id, parts[1].hasPrefix("refs/tags/") else { continue }
            // An annotated tag is listed a second time, with the commit that it leads to.
            let name = String(parts[1].hasSuffix("^{}") ? parts[1].dropLast(3) : parts[1])
            if GitRef.isAllowed(name), !names.contains(name), names.count < 50 { names.append(name) }
        }
        guard !names.isEmpty else { return }
        try fetchRefs(names.map { "\($0):\($0)" }, deadline)
    }

    /// Without their history where the server can; one of plain files has no shallow fetch.
    private func fetchRefs(_ refs: [String], _ deadline: Double) throws(FetchFailure) {
        let rest = ["--", url.withoutSecrets] + refs
        let shallow = try run(["fetch", "-q", "--no-tags", "--depth", "1"] + rest, deadline)
        if shallow.status == 0 { return }
        guard words(of: shallow).contains("shallow") else { throw failure(shallow) }
        _ = try git(["fetch", "-q", "--no-tags"] + rest, deadline)
    }

    private func commit(_ name: String, _ deadline: Double) throws(FetchFailure) -> Commit {
        let text = try git(["rev-parse", "\(name)^{commit}", "\(name)^{tree}"], deadline).text
        let lines = text.split(whereSeparator: \.isNewline).map(String.init)
        guard lines.count == 2, lines.allSatisfy({ GitObject.isID($0) }) else { throw .sha256Repository }
        return Commit(id: lines[0], tree: lines[1])
    }

    /// The full name of the branch or tag. Branches come first, as in git.
    private func resolve(_ ref: String?, _ deadline: Double) throws(FetchFailure) -> String {
        let names = ref.map { $0.hasPrefix("refs/") ? [$0] : ["refs/heads/\($0)", "refs/tags/\($0)"] } ?? ["HEAD"]
        let listed = try git(["ls-remote", "--", url.withoutSecrets] + names, deadline).text
        var found: Set<String> = []
        for line in listed.split(whereSeparator: \.isNewline) {
            let parts = line.split(separator: "\t")
            guard parts.count == 2 else { continue }
            if parts[0].utf8.count == 64 { throw .sha256Repository }
            found.insert(String(parts[1]))
        }
        if let name = names.first(where: found.contains) { return name }
        guard let ref else { throw .refNotFound("HEAD") }
        throw ref.utf8.count >= 7 && ref.utf8.count < 40 && GitObject.isHex(ref) ? .shortCommit(ref) : .refNotFound(ref)
    }

    /// What is in a commit, without checking it out.
    func tree(_ commit: Commit) throws(FetchFailure) -> GitTree {
        let deadline = Monotonic.now() + Double(limits.seconds)
        let listed = try run(["ls-tree", "-r", "-l", "-z", commit.id], deadline, outputLimit: 64 << 20)
        guard listed.status == 0 else { throw failure(listed) }
        guard let tree = GitTree(listed.output) else { throw .other("git ls-tree gave a list that can't be read") }
        if tree.bytes > limits.bytes { throw .tooLarge(limit: limits.bytes) }
        if tree.files > limits.files { throw .other("it has more than \(limits.files) files") }
        return tree
    }

    /// Writes the commit's files into `folder`, which is there and empty. Links become links; nothing is run.
    func checkOut(_ commit: Commit, into folder: String) throws(FetchFailure) {
        _ = try git(
            ["--work-tree=" + folder, "checkout", "-q", "--force", "--detach", commit.id],
            Monotonic.now() + Double(max(limits.seconds, 300)))
    }

    // MARK: The program

    private func git(_ arguments: [String], _ deadline: Double) throws(FetchFailure) -> Command.Result {
        let result = try run(arguments, deadline)
        guard result.status == 0 else { throw failure(result) }
        return result
    }

    private func failure(_ result: Command.Result) -> FetchFailure {
        .git(
            result.errorText, secrets: url.secrets, address: url.withoutSecrets, slowSeconds: limits.slowSeconds)
    }

    /// What git said about a shallow fetch; not what it was asked for.
    private func words(of result: Command.Result) -> String {
        FetchFailure.words(of: result.errorText, without: [url.withoutSecrets, "--shallow-file"])
    }

    private func run(_ arguments: [String], _ deadline: Double, outputLimit: Int = 1 << 20) throws(FetchFailure)
        -> Command.Result
    {
        let left = Int(deadline - Monotonic.now())
        guard left > 0 else { throw .timeout(seconds: limits.seconds) }
        var spec = ProcessSpec(
            "/usr/bin/git",
            [
                "--git-dir=" + gitFolder, "-c", "core.hooksPath=/dev/null", "-c", "core.fsmonitor=false", "-c",
                "gc.auto=0",
                "-c", "advice.detachedHead=false", "-c", "credential.helper=", "-c", "transfer.fsckObjects=true",
                "-c", "fetch.fsckObjects=true", "-c", "protocol.file.allow=never", "-c",
                "fetch.recurseSubmodules=false",
            ] + arguments)
        spec.environment = environment.merging(variables) { $1 }
        spec.directory = gitFolder
        spec.fileBytesLimit = limits.bytes + (limits.bytes >> 2) + (16 << 20)
        let result: Command.Result
        do throws(SystemError) {
            result = try Command(spec, timeoutSeconds: left, outputLimit: outputLimit).run()
        } catch {
            throw error.isNoSpace ? .diskFull : .other("\(error)")
        }
        if result.timedOut { throw .timeout(seconds: limits.seconds) }
        // The limit of a file's size ends git or the program of git's that writes the pack.
        let sizes = ["File too large", "died of signal \(SIGXFSZ)"]
        if result.status != 0,
            result.status == 128 + SIGXFSZ || sizes.contains(where: { result.errorText.range(of: $0) != nil })
        {
            throw .tooLarge(limit: limits.bytes)
        }
        return result
    }

    private var variables: [String: String] {
        var result = [
            "PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": home, "LC_ALL": "C", "GIT_TERMINAL_PROMPT": "0",
            "GIT_ALLOW_PROTOCOL": "https:http:ssh", "GIT_ASKPASS": "/bin/false", "SSH_ASKPASS": "/bin/false",
            "GIT_HTTP_LOW_SPEED_LIMIT": "1000", "GIT_HTTP_LOW_SPEED_TIME": "\(limits.slowSeconds)",
            "GIT_SSH_COMMAND":
                "ssh -o BatchMode=yes -o StrictHostKeyChecking=accept-new -o ConnectTimeout=\(limits.slowSeconds)",
        ]
        if let authorization = url.authorization {
            // In the environment, which only this user can read, and never among the arguments, which all can.
            result["GIT_CONFIG_COUNT"] = "2"
            result["GIT_CONFIG_KEY_0"] = "http.\(url.scheme.rawValue)://\(url.host)/.extraHeader"
            result["GIT_CONFIG_VALUE_0"] = "Authorization: \(authorization)"
            // The header goes with every request of a transfer, also to another host that a redirect leads to.
            result["GIT_CONFIG_KEY_1"] = "http.followRedirects"
            result["GIT_CONFIG_VALUE_1"] = "false"
        }
        return result
    }
}

/// The files of a commit as `git ls-tree -r -l -z` lists them.
struct GitTree: Sendable, Hashable {
    var files = 0
    var bytes: Int64 = 0
    /// Folders that are commits of other repositories.
    var gitlinks: [DriverRequest.Submodule] = []
    /// Files that have the size of Git LFS's pointers.
    var pointerSized: [String] = []

    /// - Returns: nil if it is no such list.
    init?(_ bytes: [UInt8]) {
        for entry in bytes.split(separator: 0) {
            // MODE TYPE ID SIZE<tab>PATH
            guard let tab = entry.firstIndex(of: 9) else { return nil }
            let fields = entry[..<tab].split(separator: 32)
            guard fields.count == 4 else { return nil }
            let path = String(decoding: entry[(tab + 1)...], as: UTF8.self)
            if fields[0].elementsEqual("160000".utf8) {
                gitlinks.append(.init(path: path, commit: String(decoding: fields[2], as: UTF8.self)))
                continue
            }
            guard let size = Int64(String(decoding: fields[3], as: UTF8.self)), size >= 0 else { return nil }
            let (sum, overflow) = self.bytes.addingReportingOverflow(size)
            guard !overflow else { return nil }
            self.bytes = sum
            files += 1
            if (100..<1024).contains(size), fields[0].starts(with: "100".utf8) { pointerSized.append(path) }
        }
    }
}
