import Domain
import Glibc
import OS

/// Fills the folders of a source that are commits of other repositories.
struct SubmoduleFetch: Sendable {
    /// `GIT_SUBMODULES`
    enum Mode: String, Sendable {
        /// Try for a short time; what can't be had stays empty, with a warning.
        case auto
        case required, off

        /// - Throws: `sourceUnusable` for another word.
        init(config: String?) throws(BuildStop) {
            guard let config else {
                self = .auto
                return
            }
            guard let mode = Mode(rawValue: config.lowercased()) else {
                throw BuildStop(
                    .sourceUnusable,
                    "The config var GIT_SUBMODULES must be auto, required or off, not \(Names.quoted(config)).")
            }
            self = mode
        }
    }

    /// Modules of modules of modules …
    static let maximumDepth = 5

    let mode: Mode
    let output: BuildOutput
    let isOffline: Bool
    let environment: [String: String]
    let home: String
    /// For git's own files of each.
    let work: String
    /// The source itself.
    let root: String
    /// Bytes that may still be added to the source.
    private var budget: Int64
    private var count = 0
    private var hasFailed = false
    /// Hosts that did not answer, and how.
    private var silent: [String: FetchFailure] = [:]
    /// When `auto` gives up, for all of them together.
    private let deadline: Double

    /// - Parameter autoSeconds: how long `auto` may take for all submodules together.
    init(
        mode: Mode, output: BuildOutput, isOffline: Bool, environment: [String: String], home: String, work: String,
        root: String, budget: Int64, autoSeconds: Int = 120
    ) {
        self.mode = mode
        self.output = output
        self.isOffline = isOffline
        self.environment = environment
        self.home = home
        self.work = work
        self.root = root
        self.budget = budget
        deadline = Monotonic.now() + Double(autoSeconds)
    }

    /// - Parameters:
    ///   - links: folders of the source and their commits.
    ///   - base: where the source came from; nil: unknown.
    ///   - isIgnored: what `.slugignore` removes anyway.
    /// - Throws: `sourceUnavailable` or `tooLarge` if submodules are required.
    mutating func fetch(
        _ links: [DriverRequest.Submodule], base: FetchURL?, isIgnored: (String) -> Bool
    ) throws(BuildStop) {
        let wanted = links.filter { !isIgnored($0.path) }
        guard !wanted.isEmpty else { return }
        if mode == .off {
            output.body("Submodules stay empty (GIT_SUBMODULES=off): \(Self.list(wanted.map(\.path)))")
            return
        }
        output.title("Fetching submodules")
        try fetch(wanted, in: [], base: base, depth: 1)
        if hasFailed {
            output.warn(
                "The build goes on without. GIT_SUBMODULES=required ends it here, GIT_SUBMODULES=off does not try.")
        }
    }

    private enum Outcome {
        /// With the submodules that it holds itself, and its address.
        case filled([DriverRequest.Submodule], FetchURL)
        case unwanted
        /// Lines that say why.
        case empty(BuildExit, [String])
    }

    private mutating func fetch(
        _ links: [DriverRequest.Submodule], in parent: [String], base: FetchURL?, depth: Int
    ) throws(BuildStop) {
        let modules = try modules(in: parent)
        for link in links {
            let shown = Names.quoted((parent + [link.path]).joined(separator: "/"))
            switch try fill(link, shown, parent, modules[link.path], base, depth) {
            case .unwanted: output.body("\(shown) is not wanted (update = none)")
            case .filled(let inner, let address):
                output.body("\(shown) from \(address.printable) at \(link.commit.prefix(12))")
                if !inner.isEmpty { try fetch(inner, in: parent + [link.path], base: address, depth: depth + 1) }
            case .empty(let exit, let lines):
                if mode == .required { throw BuildStop(exit, lines: lines) }
                for line in lines { output.warn(line) }
                hasFailed = true
            }
        }
    }

    private mutating func fill(
        _ link: DriverRequest.Submodule, _ shown: String, _ parent: [String], _ module: GitModules.Module?,
        _ base: FetchURL?, _ depth: Int
    ) throws(BuildStop) -> Outcome {
        guard let module, let url = module.url else {
            return .empty(
                .sourceUnavailable,
                [
                    "\(shown) is a clone of another repository that .gitmodules does not name, and stays empty.",
                    "To add its files: git rm --cached FOLDER, rm -rf FOLDER/.git, git add FOLDER",
                ])
        }
        if module.update == "none" { return .unwanted }
        guard depth <= Self.maximumDepth else {
            return .empty(.sourceUnavailable, ["The submodule \(shown) is more than \(Self.maximumDepth) levels deep."])
        }
        let address: FetchURL
        do throws(FetchURL.Fault) {
            address = try GitModules.address(url, of: base)
            try address.checkForGit()
        } catch {
            // An address that can't be read may hold a password.
            let named = url.contains("@") ? "" : " (\(Names.quoted(url)))"
            return .empty(.sourceUnavailable, ["The address of the submodule \(shown)\(named) \(error.reason)."])
        }
        guard let folder = try emptyFolder(parent, link.path) else {
            return .empty(
                .sourceUnavailable,
                ["The submodule \(shown) can't be filled: its path is no empty folder of the source."])
        }
        do throws(FetchFailure) {
            if isOffline { throw .noNetwork }
            let left = Int(deadline - Monotonic.now())
            if mode == .auto {
                if let before = silent[address.host] {
                    return .empty(
                        .sourceUnavailable,
                        ["The submodule \(shown) (\(address.printable)) \(before.reason); it is not asked again."])
                }
                if left <= 0 { throw .other("the time for all submodules together is over") }
            }
            count += 1
            let gitFolder = "\(work)/submodule-\(count).git"
            let isShort = mode == .auto
            let fetch = GitFetch(
                url: address, gitFolder: gitFolder, environment: environment,
                limits: .init(
                    seconds: isShort ? min(30, left) : 300, slowSeconds: isShort ? 10 : 30, bytes: max(budget, 1),
                    files: 200_000),
                home: home)
            do throws(SystemError) { try Files.makeDirectories(gitFolder) } catch { throw .other("\(error)") }
            let commit = try fetch.fetchCommit(link.commit)
            let tree = try fetch.tree(commit)
            try fetch.checkOut(commit, into: folder)
            budget -= tree.bytes
            return .filled(tree.gitlinks, address)
        } catch {
            // Half a checkout is worse than none.
            try stopping { () throws(SystemError) in try FolderWalk.empty(folder) }
            switch error {
            case .timeout, .unknownHost, .refused: silent[address.host] = error
            default: break
            }
            let exit: BuildExit =
                switch error {
                case .tooLarge: .tooLarge
                case .diskFull: .diskFull
                default: .sourceUnavailable
                }
            let reason: String
            if case .refNotFound(let id) = error, GitObject.isID(id) {
                reason = "does not hold the commit \(id); push it there"
            } else {
                reason = error.reason
            }
            return .empty(exit, ["The submodule \(shown) (\(address.printable)) \(reason)."])
        }
    }

    /// `.gitmodules` of the source or of a submodule; a link is none.
    private func modules(in parent: [String]) throws(BuildStop) -> GitModules {
        let file = ([root] + parent + [".gitmodules"]).joined(separator: "/")
        var info = stat()
        guard lstat(file, &info) == 0, info.st_mode & S_IFMT == S_IFREG, info.st_size <= 1 << 20 else {
            return GitModules(listed: [])
        }
        var spec = ProcessSpec("/usr/bin/git", ["config", "--no-includes", "-z", "--list", "--file", file])
        spec.environment = ["PATH": "/usr/bin:/bin", "HOME": home, "LC_ALL": "C"]
        let result = try stopping { () throws(SystemError) in try Command(spec, timeoutSeconds: 10).run() }
        guard result.status == 0 else {
            throw BuildStop(
                .sourceUnusable,
                "\((parent + [".gitmodules"]).joined(separator: "/")) can't be read: \(Printable.lastLines(result.errorOutput, count: 1).first ?? "")"
            )
        }
        return GitModules(listed: result.output)
    }

    /// The folder to fill, made if it is not there. Nil if something else is in its place, or a link is above it.
    private func emptyFolder(_ parent: [String], _ path: String) throws(BuildStop) -> String? {
        guard let names = GitModules.names(of: path) else { return nil }
        var folder = ([root] + parent).joined(separator: "/")
        for name in names {
            folder += "/" + name
            var info = stat()
            if lstat(folder, &info) == 0 {
                guard info.st_mode & S_IFMT == S_IFDIR else { return nil }
            } else {
                let made = folder
                try stopping { () throws(SystemError) in try Files.makeDirectories(made) }
            }
        }
        let last = folder
        return try stopping { () throws(SystemError) in try Files.list(last) }.isEmpty ? folder : nil
    }

    private static func list(_ paths: [String]) -> String {
        paths.prefix(10).map { Names.quoted($0) }.joined(separator: ", ") + (paths.count > 10 ? ", …" : "")
    }
}
