/// The making of a slug and a release from source: an object of the server that outlives whoever asked for it.
public struct Build: Sendable, Codable, Hashable {
    public enum State: String, Sendable, Codable, CaseIterable {
        case queued, running, succeeded, failed, cancelled
        public var isFinal: Bool { self == .succeeded || self == .failed || self == .cancelled }
    }

    public struct Source: Sendable, Codable, Hashable {
        public enum Kind: String, Sendable, Codable { case push, git, tar, commit }
        public var kind: Kind
        public var commit: String?
        /// The ref that moves to `commit` once the rollout succeeded; only for pushes.
        public var ref: String?
        /// What `ref` was when the push came, for the compare-and-swap; 40 zeros for a new ref.
        public var previousCommit: String?
        public var url: String?

        public init(
            kind: Kind, commit: String? = nil, ref: String? = nil, previousCommit: String? = nil, url: String? = nil
        ) {
            self.kind = kind
            self.commit = commit
            self.ref = ref
            self.previousCommit = previousCommit
            self.url = url
        }
    }

    public struct UsedBuildpack: Sendable, Codable, Hashable {
        public var name: String
        public var url: String?
        public var commit: String?
        public init(name: String, url: String? = nil, commit: String? = nil) {
            self.name = name
            self.url = url
            self.commit = commit
        }
    }

    /// What a push may ask for (`-o`).
    public struct Options: Sendable, Codable, Hashable {
        /// Report the push when the release is recorded, not when it is rolled out.
        public var noWait: Bool
        /// Make a slug, no release.
        public var buildOnly: Bool
        public var clearCache: Bool
        public init(noWait: Bool = false, buildOnly: Bool = false, clearCache: Bool = false) {
            self.noWait = noWait
            self.buildOnly = buildOnly
            self.clearCache = clearCache
        }
    }

    public var id: BuildID
    /// Counts from 1 in each app.
    public var number: Int
    public var app: AppID
    public var state: State
    public var source: Source
    public var options: Options
    public var stack: String
    public var buildpacks: [UsedBuildpack]
    public var slug: SlugDigest?
    public var release: Int?
    public var error: ErrorReport?
    /// The deploy ref moved (or did not have to). False with state succeeded: the ref is still to be moved.
    public var refMoved: Bool
    public var operation: OperationID?
    public var createdBy: String
    public var createdAt: Timestamp
    public var startedAt: Timestamp?
    public var finishedAt: Timestamp?

    public init(
        id: BuildID, number: Int, app: AppID, state: State, source: Source, options: Options = Options(), stack: String,
        buildpacks: [UsedBuildpack] = [], slug: SlugDigest? = nil, release: Int? = nil, error: ErrorReport? = nil,
        refMoved: Bool = false, operation: OperationID? = nil, createdBy: String, createdAt: Timestamp,
        startedAt: Timestamp? = nil, finishedAt: Timestamp? = nil
    ) {
        self.id = id
        self.number = number
        self.app = app
        self.state = state
        self.source = source
        self.options = options
        self.stack = stack
        self.buildpacks = buildpacks
        self.slug = slug
        self.release = release
        self.error = error
        self.refMoved = refMoved
        self.operation = operation
        self.createdBy = createdBy
        self.createdAt = createdAt
        self.startedAt = startedAt
        self.finishedAt = finishedAt
    }
}
