/// Slug + config + process types, never changed once made.
public struct Release: Sendable, Codable, Hashable {
    public enum State: String, Sendable, Codable, CaseIterable {
        /// Recorded; the scheduler has not begun.
        case pending
        /// Its processes are coming up beside the old ones.
        case rolling
        /// All its processes are ready; the old ones leave or have left.
        case current
        /// Its processes never became ready, or a user gave it up.
        case failed
        /// A newer release took its place.
        case superseded
    }

    public var id: ReleaseID
    /// Counts from 1 in each app.
    public var version: Int
    public var app: AppID
    public var state: State
    public var slug: SlugDigest
    public var stack: String
    public var commit: String?
    public var processTypes: [String: String]
    public var configVersion: Int
    public var description: String
    public var createdBy: String
    public var createdAt: Timestamp
    /// When the scheduler began to roll it out.
    public var startedAt: Timestamp?
    /// Output of the release phase, or why the rollout failed.
    public var output: String?
    /// Was current at some time: a target of `rollback` without a number.
    public var wasCurrent: Bool
    public var operation: OperationID?
    public var manifest: ReleaseManifest
    /// Its slug is no longer kept: it can't be released again. Known to whoever asked for the release to be told of it.
    public var slugRemoved = false

    public init(
        id: ReleaseID, version: Int, app: AppID, state: State, slug: SlugDigest, stack: String, commit: String? = nil,
        processTypes: [String: String], configVersion: Int, description: String, createdBy: String,
        createdAt: Timestamp, startedAt: Timestamp? = nil, output: String? = nil, wasCurrent: Bool = false,
        operation: OperationID? = nil, manifest: ReleaseManifest = ReleaseManifest()
    ) {
        self.id = id
        self.version = version
        self.app = app
        self.state = state
        self.slug = slug
        self.stack = stack
        self.commit = commit
        self.processTypes = processTypes
        self.configVersion = configVersion
        self.description = description
        self.createdBy = createdBy
        self.createdAt = createdAt
        self.startedAt = startedAt
        self.output = output
        self.wasCurrent = wasCurrent
        self.operation = operation
        self.manifest = manifest
    }
}
