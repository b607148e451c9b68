/// A tenant's program: what is pushed, released, scaled.
public struct App: Sendable, Codable, Hashable {
    public var id: AppID
    public var name: String
    public var space: SpaceID
    public var spaceName: String
    /// Number of the space's network, from 0; the engine derives the bridge and the subnets from it.
    public var networkIndex: Int
    /// Number of the app's uid range, from 0, never used twice while data of the app can exist.
    public var uidSlot: Int
    public var stack: String
    /// The branch that builds; nil until the first push of `main` or `master` fixes it.
    public var deployBranch: String?
    public var buildpacks: [String]
    public var labels: [String: String]
    /// `apps create --no-ports`: `web` gets no port binding by itself.
    public var noPorts: Bool
    public var currentRelease: Int?
    /// Raised with every change of config; the ETag of `/config`.
    public var configVersion: Int
    /// Raised with every change of the formation; the ETag of `/formation` and the generation that plans carry.
    public var generation: Int64
    /// Being deleted: nothing new starts, what runs is stopped, then the row goes.
    public var deleting: Bool
    /// When the last process of an app that is being deleted has to be stopped, whatever flows it has; nil: no limit.
    public var stopBy: Timestamp?
    public var createdAt: Timestamp
    public var updatedAt: Timestamp

    public init(
        id: AppID, name: String, space: SpaceID, spaceName: String, networkIndex: Int, uidSlot: Int, stack: String,
        deployBranch: String? = nil, buildpacks: [String] = [], labels: [String: String] = [:], noPorts: Bool = false,
        currentRelease: Int? = nil, configVersion: Int = 0, generation: Int64 = 0, deleting: Bool = false,
        stopBy: Timestamp? = nil,
        createdAt: Timestamp, updatedAt: Timestamp
    ) {
        self.id = id
        self.name = name
        self.space = space
        self.spaceName = spaceName
        self.networkIndex = networkIndex
        self.uidSlot = uidSlot
        self.stack = stack
        self.deployBranch = deployBranch
        self.buildpacks = buildpacks
        self.labels = labels
        self.noPorts = noPorts
        self.currentRelease = currentRelease
        self.configVersion = configVersion
        self.generation = generation
        self.deleting = deleting
        self.stopBy = stopBy
        self.createdAt = createdAt
        self.updatedAt = updatedAt
    }
}

/// A group of apps of one tenant that share a network. Containers of different spaces never reach each other directly.
public struct Space: Sendable, Codable, Hashable {
    public var id: SpaceID
    public var name: String
    public var networkIndex: Int
    public var createdAt: Timestamp

    public init(id: SpaceID, name: String, networkIndex: Int, createdAt: Timestamp) {
        self.id = id
        self.name = name
        self.networkIndex = networkIndex
        self.createdAt = createdAt
    }
}
