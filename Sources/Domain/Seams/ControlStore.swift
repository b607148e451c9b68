/// What the REST API needs of the store. Every method is one transaction. Methods that take a principal answer `notFound`
/// for what it may not know of. `unavailable` when the database is away.
public protocol ControlStore: Sendable {
    // Tokens
    /// Nil for an unknown, expired or revoked secret. `secretHash` is the SHA-256 of the secret.
    func principal(secretHash: [UInt8], now: Timestamp) async throws(PaaSError) -> Principal?
    /// Makes (or replaces) the built-in admin token's hash.
    func ensureAdminToken(secretHash: [UInt8], now: Timestamp) async throws(PaaSError)
    func createToken(
        role: Role, space: String?, expiresAt: Timestamp?, secretHash: [UInt8], actor: Principal, now: Timestamp
    )
        async throws(PaaSError) -> AccessToken
    func tokens() async throws(PaaSError) -> [AccessToken]
    func revokeToken(_ id: TokenID, actor: Principal, now: Timestamp) async throws(PaaSError)

    // Repeated requests
    /// The answer that was kept under this key; nil if none is, or if it is older than `Limits.idempotencySeconds`.
    func idempotentAnswer(_ key: IdempotencyKey, now: Timestamp) async throws(PaaSError) -> IdempotentAnswer?
    /// Keeps an answer, its body encrypted, and removes those that are too old or too many. One that is there is replaced.
    func keepIdempotentAnswer(_ answer: IdempotentAnswer, _ key: IdempotencyKey, now: Timestamp) async throws(PaaSError)

    // SSH keys
    /// The caller's own, of an admin everybody's; oldest first.
    func keys(for principal: Principal) async throws(PaaSError) -> [AccessKey]
    /// Gives a key the rights of the actor's token. A key whose token is dead changes its owner.
    /// - Throws: `conflict` if another token has it, `exhausted` above `Limits.keysPerToken`.
    func addKey(_ key: AccessKey, line: String, actor: Principal, now: Timestamp) async throws(PaaSError) -> AccessKey
    func removeKey(_ id: KeyID, actor: Principal, now: Timestamp) async throws(PaaSError)
    /// Nil for a key that nobody added.
    func keyHolder(fingerprint: [UInt8], now: Timestamp) async throws(PaaSError) -> KeyHolder?
    func keyHolder(_ id: KeyID, now: Timestamp) async throws(PaaSError) -> KeyHolder?

    // Spaces
    func spaces(for principal: Principal) async throws(PaaSError) -> [Space]
    func putSpace(name: String, actor: Principal, now: Timestamp) async throws(PaaSError) -> (
        space: Space, created: Bool
    )

    // Apps
    func apps(for principal: Principal) async throws(PaaSError) -> [App]
    func app(named name: String, for principal: Principal) async throws(PaaSError) -> App
    func putApp(_ request: AppRequest, actor: Principal, now: Timestamp) async throws(PaaSError) -> (
        app: App, created: Bool
    )
    func patchApp(_ app: AppID, _ patch: AppPatch, actor: Principal, now: Timestamp) async throws(PaaSError) -> App
    /// Marks it for deletion; the scheduler stops what runs and removes the rest. `stopBy`: when the last process has to be
    /// stopped; nil: once its flows have ended, or their time is over. Asked again, the earlier time counts.
    func deleteApp(_ app: AppID, stopBy: Timestamp?, actor: Principal, now: Timestamp) async throws(PaaSError)
        -> Operation

    // Config
    func config(_ app: AppID) async throws(PaaSError) -> (vars: ConfigVars, version: Int)
    /// Nil unsets. One call makes one config version and, if something changed, one release with the current slug; before
    /// any release is current, with the slug of the one that is on its way. Without either, or without any change: no
    /// release, a completed operation; the first release takes the newest config.
    func patchConfig(_ app: AppID, changes: [String: ConfigValue?], ifMatch: Int?, actor: Principal, now: Timestamp)
        async throws(PaaSError) -> ConfigChange
    /// Whether the app runs with the config that it was given last.
    func configStatus(_ app: AppID) async throws(PaaSError) -> ConfigStatus
    /// Apps whose current release runs with another config than the wanted one, by name.
    func outdatedConfigs(for principal: Principal) async throws(PaaSError) -> [ConfigStatus]

    // Formation
    func formation(_ app: AppID) async throws(PaaSError) -> (entries: Formation, generation: Int64)
    func patchFormation(
        _ app: AppID, changes: [String: FormationChange], ifMatch: Int64?, actor: Principal, now: Timestamp
    ) async throws(PaaSError) -> (entries: Formation, generation: Int64, operation: Operation)

    // Releases
    /// Newest first.
    func releases(_ app: AppID, limit: Int, before: Int?) async throws(PaaSError) -> [Release]
    func release(_ app: AppID, version: Int) async throws(PaaSError) -> Release
    /// What the release runs once: its release phase, then its postdeploy script. Empty for a release that has neither.
    func releaseRuns(_ app: AppID, version: Int) async throws(PaaSError) -> [ReleaseRun]
    /// A new release with the slug and the config of `version`; nil: of the last release that was current before this one.
    func rollback(_ app: AppID, to version: Int?, actor: Principal, now: Timestamp) async throws(PaaSError) -> (
        release: Release, operation: Operation
    )
    /// A new release of an existing slug (of this app) with the present config.
    func release(_ app: AppID, slug: SlugDigest, actor: Principal, now: Timestamp) async throws(PaaSError) -> (
        release: Release, operation: Operation
    )

    /// A new release with slug and process types of the current release of the app `source`, and the present config of this
    /// one. `notFound` for a source that the actor may not know of; `conflict` if it runs nothing or its stack is another.
    func promote(_ app: AppID, from source: String, actor: Principal, now: Timestamp) async throws(PaaSError) -> (
        release: Release, operation: Operation
    )

    // Slugs
    /// Those that builds and releases of the app refer to, newest first; without provenance.
    func slugs(_ app: AppID, limit: Int) async throws(PaaSError) -> [SlugInfo]
    /// `notFound` unless an app that the principal may see has a build or a release of it.
    func slug(_ digest: SlugDigest, for principal: Principal) async throws(PaaSError) -> SlugInfo
    /// The components of a slug (CycloneDX, JSON); nil if none are kept. `notFound` as for `slug`.
    func billOfMaterials(_ digest: SlugDigest, for principal: Principal) async throws(PaaSError) -> [UInt8]?

    // Processes
    func processes(_ app: AppID) async throws(PaaSError) -> [ProcessInstance]
    /// Asks for replacement of one process (`web.1`), of a type (`web`) or, with nil, of all.
    func replaceProcesses(_ app: AppID, matching name: String?, actor: Principal, now: Timestamp)
        async throws(PaaSError)
        -> Operation

    // Ports
    func ports(_ app: AppID) async throws(PaaSError) -> [PortBinding]
    func putPort(_ app: AppID, _ request: PortRequest, range: ClosedRange<UInt16>, actor: Principal, now: Timestamp)
        async throws(PaaSError) -> (port: PortBinding, created: Bool)
    func deletePort(_ app: AppID, name: String, actor: Principal, now: Timestamp) async throws(PaaSError)

    // Builds
    /// Newest first.
    func builds(_ app: AppID, limit: Int, before: Int?) async throws(PaaSError) -> [Build]
    /// By number or by id.
    func build(_ app: AppID, _ numberOrID: String) async throws(PaaSError) -> Build
    /// Nil for a build that made no slug, and for one that is older than the keeping of it.
    func provenance(_ build: BuildID) async throws(PaaSError) -> Provenance?

    // Operations and events
    func operation(_ id: OperationID, for principal: Principal) async throws(PaaSError) -> Operation
    /// Oldest first, ids above `after`.
    func events(after: Int64, limit: Int, app: String?, for principal: Principal) async throws(PaaSError) -> [Event]
    /// The newest event id.
    func lastEventID() async throws(PaaSError) -> Int64
    /// Yields when events may have been appended. A hint only: several may come as one and some may be lost, so look from
    /// time to time anyway. Ends when the store is closed.
    func eventHints() -> AsyncStream<Void>

    /// Fails with `unavailable` when the database does not answer.
    func ping() async throws(PaaSError)
    /// Numbers of apps, processes and builds of the whole platform.
    func counts() async throws(PaaSError) -> PlatformCounts
    /// How busy the connections to the database are.
    func databaseLoad() -> DatabaseLoad
}

public struct AppRequest: Sendable {
    public var name: String
    /// Nil: the caller's only space, else `default`.
    public var space: String?
    public var stack: String?
    public var labels: [String: String]
    public var buildpacks: [String]
    public var noPorts: Bool
    public init(
        name: String, space: String? = nil, stack: String? = nil, labels: [String: String] = [:],
        buildpacks: [String] = [],
        noPorts: Bool = false
    ) {
        self.name = name
        self.space = space
        self.stack = stack
        self.labels = labels
        self.buildpacks = buildpacks
        self.noPorts = noPorts
    }
}

/// Nil: unchanged.
public struct AppPatch: Sendable {
    public var stack: String?
    public var deployBranch: String?
    public var buildpacks: [String]?
    public var labels: [String: String]?
    public init(
        stack: String? = nil, deployBranch: String? = nil, buildpacks: [String]? = nil, labels: [String: String]? = nil
    ) {
        self.stack = stack
        self.deployBranch = deployBranch
        self.buildpacks = buildpacks
        self.labels = labels
    }
}

/// Nil: unchanged.
public struct FormationChange: Sendable {
    public var quantity: Int?
    public var memoryBytes: Int64?
    public var cpuMillis: Int?
    public var qos: FormationEntry.QualityOfService?
    public init(
        quantity: Int? = nil, memoryBytes: Int64? = nil, cpuMillis: Int? = nil,
        qos: FormationEntry.QualityOfService? = nil
    ) {
        self.quantity = quantity
        self.memoryBytes = memoryBytes
        self.cpuMillis = cpuMillis
        self.qos = qos
    }
}

public struct ConfigChange: Sendable {
    public var vars: ConfigVars
    public var version: Int
    public var release: Int?
    public var operation: Operation
    public init(vars: ConfigVars, version: Int, release: Int?, operation: Operation) {
        self.vars = vars
        self.version = version
        self.release = release
        self.operation = operation
    }
}

/// Nil: the default when made, unchanged when there.
public struct PortRequest: Sendable {
    public var name: String
    public var `protocol`: PortBinding.BindingProtocol
    public var processType: String?
    public var targetPort: UInt16?
    public var publicPort: UInt16?
    public var affinity: PortBinding.Affinity?
    public var proxyProtocol: PortBinding.ProxyProtocol?
    public var drainSeconds: Int?
    public var plane: PortBinding.Plane?
    public init(
        name: String, protocol: PortBinding.BindingProtocol, processType: String? = nil, targetPort: UInt16? = nil,
        publicPort: UInt16? = nil, affinity: PortBinding.Affinity? = nil,
        proxyProtocol: PortBinding.ProxyProtocol? = nil, drainSeconds: Int? = nil, plane: PortBinding.Plane? = nil
    ) {
        self.name = name
        self.protocol = `protocol`
        self.processType = processType
        self.targetPort = targetPort
        self.publicPort = publicPort
        self.affinity = affinity
        self.proxyProtocol = proxyProtocol
        self.drainSeconds = drainSeconds
        self.plane = plane
    }
}

/// Numbers of apps, processes and builds.
public struct PlatformCounts: Sendable, Codable, Hashable {
    public var apps: Int
    public var processesUp: Int
    public var processesWanted: Int
    public var activeBuilds: Int
    /// Processes and kept builds by their state; states of which there is none may be left out.
    public var processStates: [String: Int]
    public var buildStates: [String: Int]
    public init(
        apps: Int, processesUp: Int, processesWanted: Int, activeBuilds: Int, processStates: [String: Int] = [:],
        buildStates: [String: Int] = [:]
    ) {
        self.apps = apps
        self.processesUp = processesUp
        self.processesWanted = processesWanted
        self.activeBuilds = activeBuilds
        self.processStates = processStates
        self.buildStates = buildStates
    }
}

/// How busy the connections to the database are.
public struct DatabaseLoad: Sendable, Hashable {
    public var connections: Int
    /// Connections that wait for work.
    public var idle: Int
    /// Callers that wait for a connection.
    public var waiting: Int
    public init(connections: Int, idle: Int, waiting: Int) {
        self.connections = connections
        self.idle = idle
        self.waiting = waiting
    }
}
