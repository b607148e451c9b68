/// The git repositories of the apps, reached through paas-git (own user, limited). Paths are the daemon's business:
/// callers name apps only.
public protocol SourceRepositories: Sendable {
    /// Makes the bare repository unless it is there.
    func create(app: AppID) async throws(PaaSError)
    func remove(app: AppID) async throws(PaaSError)
    func list() async throws(PaaSError) -> [AppID]
    /// Takes a repository out of the list without removing its files; removes what was set aside more than 30 days ago.
    func setAside(app: AppID) async throws(PaaSError)

    /// Pins `commit` as `refs/paas/builds/<build>`, so that it can't be collected.
    func pin(app: AppID, build: BuildID, commit: String) async throws(PaaSError)
    func unpin(app: AppID, build: BuildID) async throws(PaaSError)
    func pins(app: AppID) async throws(PaaSError) -> [BuildID]

    /// Full id of a commit, from a full or short id or a ref. `notFound` if there is none.
    func resolve(app: AppID, revision: String) async throws(PaaSError) -> String
    func commitInfo(app: AppID, commit: String) async throws(PaaSError) -> CommitInfo
    /// What a tree holds that decides whether it can be built.
    func inspect(app: AppID, commit: String) async throws(PaaSError) -> TreeFacts
    /// Checks the commit's tree out into an existing, empty directory, byte for byte as it was committed: attributes change
    /// nothing, links are made, never followed.
    /// - Parameters:
    ///   - limitBytes: of all files together; above it `appFailed`.
    ///   - keeping: what `.git` is to be; nil: there is none.
    func checkout(app: AppID, commit: String, into directory: String, limitBytes: Int64, keeping: KeptHistory?)
        async throws(PaaSError)

    /// Compare-and-swap: `ref` becomes `new` if it is `old` (nil: if it does not exist). `conflict` otherwise.
    func updateRef(app: AppID, ref: String, old: String?, new: String) async throws(PaaSError)
    func readRef(app: AppID, ref: String) async throws(PaaSError) -> String?
    /// `HEAD` of the repository, so that a clone checks out the deploy branch.
    func setHead(app: AppID, branch: String) async throws(PaaSError)
}

/// A `.git` for programs that ask git about their own source: a repository of its own, with the commit, its history back to the
/// nearest tag if that is near, and the tags of these commits.
public struct KeptHistory: Sendable, Codable, Hashable {
    /// The branch that `HEAD` is on, as in `main`; nil: on none.
    public var branch: String?
    public init(branch: String?) { self.branch = branch }
}

/// A place in a tree where another repository belongs (a submodule).
public struct Gitlink: Sendable, Codable, Hashable {
    /// From the root of the tree, as in `vendor/x`.
    public var path: String
    /// The commit of the other repository, 40 hex digits.
    public var commit: String
    public init(path: String, commit: String) {
        self.path = path
        self.commit = commit
    }
}

public struct CommitInfo: Sendable, Codable, Hashable {
    public var id: String
    public var tree: String
    public var subject: String
    public var author: String
    public var time: Timestamp
    public init(id: String, tree: String, subject: String, author: String, time: Timestamp) {
        self.id = id
        self.tree = tree
        self.subject = subject
        self.author = author
        self.time = time
    }
}

public struct TreeFacts: Sendable, Codable, Hashable {
    public static let maximumGitlinks = 200

    public var files: Int
    public var totalBytes: Int64
    public var largestFile: String?
    public var largestBytes: Int64
    /// Paths of Git LFS pointer files, at most 10.
    public var lfsPointers: [String]
    /// Submodules, sorted by path. A tree with more than `maximumGitlinks` is refused.
    public var gitlinks: [Gitlink]
    public var hasGitmodules: Bool
    public init(
        files: Int, totalBytes: Int64, largestFile: String?, largestBytes: Int64, lfsPointers: [String],
        gitlinks: [Gitlink], hasGitmodules: Bool
    ) {
        self.files = files
        self.totalBytes = totalBytes
        self.largestFile = largestFile
        self.largestBytes = largestBytes
        self.lfsPointers = lfsPointers
        self.gitlinks = gitlinks
        self.hasGitmodules = hasGitmodules
    }
}
