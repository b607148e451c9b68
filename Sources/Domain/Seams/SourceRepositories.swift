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
    /// Checks the commit's tree out into an existing, empty directory: links are made, never followed; no `.git`.
    func checkout(app: AppID, commit: String, into directory: String, limitBytes: Int64) async throws(PaaSError)

    /// Compare-and-swap: `ref` becomes `new` if it is `old` (nil: if it does not exist). `conflict` otherwise.
    func updateRef(app: AppID, ref: String, old: String?, new: String) async throws(PaaSError)
    func readRef(app: AppID, ref: String) async throws(PaaSError) -> String?
    /// `HEAD` of the repository, so that a clone checks out the deploy branch.
    func setHead(app: AppID, branch: String) async throws(PaaSError)
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
    public var files: Int
    public var totalBytes: Int64
    public var largestFile: String?
    public var largestBytes: Int64
    /// Paths of Git LFS pointer files, at most 10.
    public var lfsPointers: [String]
    /// Paths of gitlinks (submodules), at most 10.
    public var gitlinks: [String]
    public var hasGitmodules: Bool
    public init(
        files: Int, totalBytes: Int64, largestFile: String?, largestBytes: Int64, lfsPointers: [String],
        gitlinks: [String], hasGitmodules: Bool
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
