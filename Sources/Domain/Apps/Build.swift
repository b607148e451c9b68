/// The making of a slug and a release from source: an object of the server that outlives whoever asked for it.
public struct Build: Sendable, Codable, Hashable {
    public enum State: String, Sendable, Codable, CaseIterable {
        case queued, running, succeeded, failed, cancelled
        public var isFinal: Bool { self == .succeeded || self == .failed || self == .cancelled }
    }

    public struct Source: Sendable, Codable, Hashable {
        public enum Kind: String, Sendable, Codable {
            case push, git, tar, commit
            /// What is built is a commit of the app's repository; else the build fetches or unpacks it.
            public var isInRepository: Bool { self == .push || self == .commit }
        }
        public var kind: Kind
        /// Full id; of a URL's source once it was fetched, of an archive never.
        public var commit: String?
        /// Of a push: the ref that moves to `commit` once the rollout succeeded. With `url`: what is fetched from there; nil:
        /// the repository's own `HEAD`.
        public var ref: String?
        /// What `ref` was when the push came, for the compare-and-swap; 40 zeros for a new ref.
        public var previousCommit: String?
        /// Without user name and password; see `SourceURL`.
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

    /// The slug of an earlier build of the same commit on the same stack, and so whether building it again gave the same.
    public struct Comparison: Sendable, Codable, Hashable {
        /// Number of that build.
        public var build: Int
        /// Its release; nil if it made none.
        public var release: Int?
        public var slug: SlugDigest
        /// What is known to have been another then, in words.
        public var differences: [String]
        public init(build: Int, release: Int?, slug: SlugDigest, differences: [String] = []) {
            self.build = build
            self.release = release
            self.slug = slug
            self.differences = differences
        }
    }

    /// What a push may ask for (`-o`), and whoever opens a build otherwise.
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
    /// Nil while there is no slug, and when the commit was not built before.
    public var comparison: Comparison?
    public var release: Int?
    public var error: ErrorReport?
    /// All that follows the release is done: of a push, the deploy ref has moved. False with state succeeded: that is still to
    /// come, or the release failed.
    public var refMoved: Bool
    public var operation: OperationID?
    public var createdBy: String
    public var createdAt: Timestamp
    public var startedAt: Timestamp?
    public var finishedAt: Timestamp?

    public init(
        id: BuildID, number: Int, app: AppID, state: State, source: Source, options: Options = Options(), stack: String,
        buildpacks: [UsedBuildpack] = [], slug: SlugDigest? = nil, comparison: Comparison? = nil, release: Int? = nil,
        error: ErrorReport? = nil,
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
        self.comparison = comparison
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
