import Domain
import Glibc
import OS

/// Makes the private copies of a build's buildpacks: from the platform's, from the operator's folders, or fetched.
struct BuildpackStore: Sendable {
    let roots: BuildRoots
    let request: DriverRequest
    let output: BuildOutput
    /// Of this build, empty at first.
    let folder: String
    /// The source.
    let source: String
    let home: String
    /// How registries are reached.
    let environment: [String: String]

    /// Names of the platform's own that are complete.
    static func known(_ folder: String) throws(BuildStop) -> [String] {
        try stopping { () throws(SystemError) in try Files.list(folder) }.filter { name in
            access("\(folder)/\(name)/bin/detect", F_OK) == 0 && access("\(folder)/\(name)/bin/compile", F_OK) == 0
        }
    }

    /// - Parameter index: of the buildpack in its list; two may have the same name.
    func get(_ wanted: WantedBuildpack, index: Int) throws(BuildStop) -> Buildpack {
        let target = "\(folder)/custom-\(index)"
        switch wanted {
        case .platform(let name, let alias):
            if let alias { output.body("\(alias): the platform's own buildpack \(name) is used for it.") }
            return try platform(name)
        case .git(let url, let ref): return try git(url, ref, wanted, target)
        case .archive(let url): return try archive(url, wanted, target)
        case .folder(let path): return try local(path, wanted, target)
        case .inSource(let path): return try inSource(path, wanted, target)
        }
    }

    /// A copy beside that of the files they share (`lib/`).
    func platform(_ name: String) throws(BuildStop) -> Buildpack {
        let source = "\(roots.platformBuildpacks)/\(name)"
        guard access("\(source)/bin/detect", F_OK) == 0, access("\(source)/bin/compile", F_OK) == 0 else {
            throw BuildStop(.environmentIncomplete, "The buildpack \(name) of the platform is incomplete.")
        }
        let target = "\(folder)/platform/\(name)"
        if !Files.exists(target) {
            let shared = "\(roots.platformBuildpacks)/lib"
            try stopping { () throws(SystemError) in try Files.makeDirectories("\(folder)/platform") }
            if !Files.exists("\(folder)/platform/lib") && Files.exists(shared) {
                try copy(shared, to: "\(folder)/platform/lib")
            }
            try copy(source, to: target)
            try mendModes(target, of: name)
        }
        let looksFor = try stopping { () throws(SystemError) in try Files.readText("\(target)/looks-for", limit: 4096) }
        return Buildpack(folder: target, name: name, kind: .classic, looksFor: looksFor)
    }

    private func git(_ url: FetchURL, _ ref: String?, _ wanted: WantedBuildpack, _ target: String) throws(BuildStop)
        -> Buildpack
    {
        output.title("Fetching buildpack \(wanted.printable)")
        let folders = [target + ".git", target]
        for folder in folders { try stopping { () throws(SystemError) in try Files.makeDirectories(folder) } }
        let fetch = GitFetch(
            url: url, gitFolder: target + ".git", environment: environment, limits: .buildpack, home: home)
        let commit: GitFetch.Commit
        do throws(FetchFailure) {
            if request.isOffline { throw .noNetwork }
            commit = try fetch.fetch(ref)
            let tree = try fetch.tree(commit)
            try fetch.checkOut(commit, into: target)
            output.body("Commit \(commit.id)")
            if !tree.gitlinks.isEmpty {
                let paths = tree.gitlinks.prefix(10).map { Names.quoted($0.path) }.joined(separator: ", ")
                output.warn("Its submodules are not fetched: \(paths)")
            }
        } catch {
            throw unusable(wanted, error)
        }
        // Only the files are needed.
        try stopping { () throws(SystemError) in try Files.removeTree(target + ".git") }
        return try finish(wanted, target, commit: commit.id)
    }

    private func archive(_ url: FetchURL, _ wanted: WantedBuildpack, _ target: String) throws(BuildStop) -> Buildpack {
        output.title("Fetching buildpack \(wanted.printable)")
        let file = target + ".archive"
        do throws(FetchFailure) {
            if request.isOffline { throw .noNetwork }
            try HTTPDownload(url: url, environment: environment, home: home, seconds: 120, bytes: 256 << 20).save(
                to: file)
        } catch {
            throw unusable(wanted, error)
        }
        let unpacker = ArchiveUnpacker(
            file: file, environment: ["PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": home],
            limits: .init(bytes: GitFetch.Limits.buildpack.bytes, entries: GitFetch.Limits.buildpack.files))
        let digest = try unpacker.sha256()
        output.body("SHA-256 \(digest)")
        let top: String?
        do throws(ArchiveCheck.Refusal) { top = try unpacker.check() } catch {
            throw BuildStop(.buildpackUnusable, "The buildpack \(wanted.printable) \(error.reason).")
        }
        try stopping { () throws(SystemError) in try Files.makeDirectories(target) }
        // A buildpack of nothing but bin/ is no folder in a folder.
        try unpacker.unpack(into: target, withoutTopFolder: top != nil && top != "bin")
        try stopping { () throws(SystemError) in try Files.remove(file) }
        return try finish(wanted, target, commit: digest)
    }

    /// Only below the operator's folders, also after all links are followed.
    private func local(_ path: String, _ wanted: WantedBuildpack, _ target: String) throws(BuildStop) -> Buildpack {
        let allowed = request.buildpackFolders
        let real = Files.canonical(path)
        let isAllowed = allowed.contains { folder in
            let root = Files.canonical(folder)
            return real == root || real.hasPrefix(root.hasSuffix("/") ? root : root + "/")
        }
        guard isAllowed else {
            throw BuildStop(
                .buildpackUnusable, "The buildpack \(wanted.printable) is not in a folder that the operator allows.",
                allowed.isEmpty
                    ? "This platform allows none (PAAS_BUILDPACK_DIRS); use a git address or a tarball."
                    : "Allowed are buildpacks below: \(allowed.joined(separator: " "))")
        }
        var info = stat()
        guard stat(real, &info) == 0, info.st_mode & S_IFMT == S_IFDIR else {
            throw BuildStop(.buildpackUnusable, "The buildpack \(wanted.printable) is not there, or is no folder.")
        }
        output.title("Using buildpack \(wanted.printable)")
        try copy(real, to: target)
        // Of the copy: what the folder is at another moment is not what builds.
        let commit = try commit(of: target)
        try stopping { () throws(SystemError) in try Files.removeTree(target + "/.git") }
        return try finish(wanted, target, commit: commit)
    }

    /// A folder of the source; no link may lead out of it.
    private func inSource(_ path: String, _ wanted: WantedBuildpack, _ target: String) throws(BuildStop) -> Buildpack {
        let root = Files.canonical(source)
        let real = Files.canonical("\(root)/\(path)")
        var info = stat()
        guard real.hasPrefix(root + "/"), stat(real, &info) == 0, info.st_mode & S_IFMT == S_IFDIR else {
            throw BuildStop(.buildpackUnusable, "The buildpack \(wanted.printable) is no folder of this source.")
        }
        try copy(real, to: target)
        return try finish(wanted, target, commit: nil)
    }

    /// Of a folder that is a clone; nil if it is none, or holds what is in no commit.
    private func commit(of folder: String) throws(BuildStop) -> String? {
        guard Files.exists(folder + "/.git") else { return nil }
        func git(_ arguments: [String]) throws(BuildStop) -> Command.Result {
            var spec = ProcessSpec(
                "/usr/bin/git",
                [
                    "-c", "safe.directory=*", "-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null",
                    "--git-dir=\(folder)/.git", "--work-tree=\(folder)",
                ] + arguments)
            spec.environment = ["PATH": "/usr/bin:/bin", "HOME": home, "LC_ALL": "C"]
            return try stopping { () throws(SystemError) in try Command(spec, timeoutSeconds: 30).run() }
        }
        let head = try git(["rev-parse", "HEAD"])
        let id = head.text.prefix { $0 != "\n" }
        guard head.status == 0, GitObject.isID(id) else { return nil }
        let changes = try git(["status", "--porcelain"])
        guard changes.status == 0, !changes.timedOut, changes.output.isEmpty else {
            output.warn("The buildpack has changes that are in no commit; no commit is recorded.")
            return nil
        }
        output.body("Commit \(id)")
        return String(id)
    }

    private func finish(_ wanted: WantedBuildpack, _ folder: String, commit: String?) throws(BuildStop) -> Buildpack {
        let kind = try Buildpack.kind(of: folder, named: wanted.printable)
        try mendModes(folder, of: wanted.printable)
        return Buildpack(folder: folder, name: wanted.name, url: wanted.printable, commit: commit, kind: kind)
    }

    /// Scripts whose mode was lost on the way, as those of many real buildpacks.
    private func mendModes(_ folder: String, of name: String) throws(BuildStop) {
        var info = stat()
        guard lstat(folder + "/bin", &info) == 0 else { return }
        guard info.st_mode & S_IFMT == S_IFDIR else {
            throw BuildStop(.buildpackUnusable, "The buildpack \(name) can't be used: its bin is no folder.")
        }
        try stopping { () throws(SystemError) in
            try FolderWalk.visit(folder + "/bin") { entry throws(SystemError) in
                let mode = entry.info.st_mode & 0o777
                if entry.kind == .file && mode & 0o500 != 0o500 || mode & 0o111 == 0 { try entry.setMode(mode | 0o755) }
                return .skip
            }
        }
    }

    private func copy(_ source: String, to target: String) throws(BuildStop) {
        var spec = ProcessSpec("/bin/cp", ["-R", "-P", "--preserve=mode,links", "--", source, target])
        spec.environment = ["PATH": "/usr/bin:/bin", "LC_ALL": "C"]
        let result = try stopping { () throws(SystemError) in try Command(spec, timeoutSeconds: 120).run() }
        guard result.status == 0 else {
            let words = Printable.lastLines(result.errorOutput, count: 1).first ?? "exit code \(result.status)"
            throw result.errorText.contains("No space left")
                ? BuildStop(.diskFull, "The build volume is full.")
                : BuildStop(.environmentIncomplete, "A buildpack can't be copied: \(words)")
        }
        // What the platform mounts is read-only, also by its modes.
        try stopping { () throws(SystemError) in
            try Files.setMode(target, 0o755)
            try FolderWalk.visit(target) { entry throws(SystemError) in
                if entry.kind == .file || entry.kind == .folder, entry.info.st_mode & 0o200 == 0 {
                    try entry.setMode(entry.info.st_mode & 0o777 | 0o200)
                }
                return .descend
            }
        }
    }

    private func unusable(_ wanted: WantedBuildpack, _ failure: FetchFailure) -> BuildStop {
        let exit: BuildExit = failure == .diskFull ? .diskFull : .buildpackUnusable
        return BuildStop(exit, "The buildpack \(wanted.printable) \(failure.reason).")
    }
}
