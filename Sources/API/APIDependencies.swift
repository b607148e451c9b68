import Domain
import Logging

/// What kinds of port bindings the platform's router serves. Others are refused rather than accepted and left dead.
public struct PortCapabilities: Sendable, Hashable {
    public var protocols: Set<PortBinding.BindingProtocol>
    public var affinities: Set<PortBinding.Affinity>
    public var proxyProtocols: Set<PortBinding.ProxyProtocol>
    public var planes: Set<PortBinding.Plane>

    public init(
        protocols: Set<PortBinding.BindingProtocol> = PortBinding.BindingProtocol.offered,
        affinities: Set<PortBinding.Affinity> = [.none],
        proxyProtocols: Set<PortBinding.ProxyProtocol> = [.none], planes: Set<PortBinding.Plane> = [.auto, .user]
    ) {
        self.protocols = protocols
        self.affinities = affinities
        self.proxyProtocols = proxyProtocols
        self.planes = planes
    }
}

/// Everything that the API asks of the other parts.
public struct APIDependencies: Sendable {
    public var store: any ControlStore
    public var engine: any ContainerEngine
    public var buildEngine: any BuildEngine
    public var builds: any BuildService
    public var git: any GitTransport
    public var repositories: any SourceRepositories
    public var scheduler: any SchedulerWakeup
    public var routing: any RoutingFeed
    public var logs: any LogReader
    public var status: any StatusSource
    public var tickets: PushTickets
    /// The platform's own, by name; empty: not known.
    public var buildpacks: [BuildpackInfo]
    public var gitBudget: GitRequestBudget
    public var ports: PortCapabilities
    public var settings: Settings
    /// The epoch of this paasd, for calls of the engine.
    public var epoch: Int64
    /// SHA-256 of the built-in admin's token, which lets the admin in also while the database is away.
    public var adminTokenHash: [UInt8]?
    /// How often endless replies look whether their caller may still see them.
    public var streamRecheckSeconds: Double
    /// Told of the releases and formations that the API records.
    public var faults: any FaultInjector
    public var clock: @Sendable () -> Timestamp
    /// What the removal of old things did, for the metrics; nil where nothing is removed.
    public var retention: (any RetentionStatus)?

    public init(
        store: any ControlStore, engine: any ContainerEngine, buildEngine: any BuildEngine, builds: any BuildService,
        git: any GitTransport, repositories: any SourceRepositories, scheduler: any SchedulerWakeup,
        routing: any RoutingFeed, logs: any LogReader, status: any StatusSource, tickets: PushTickets,
        buildpacks: [BuildpackInfo] = [],
        ports: PortCapabilities = PortCapabilities(), settings: Settings, epoch: Int64,
        adminTokenHash: [UInt8]? = nil,
        streamRecheckSeconds: Double = 5,
        faults: any FaultInjector = NoFaults(), clock: @escaping @Sendable () -> Timestamp = { Timestamp.now() },
        retention: (any RetentionStatus)? = nil
    ) {
        self.store = store
        self.engine = engine
        self.buildEngine = buildEngine
        self.builds = builds
        self.git = git
        self.repositories = repositories
        self.scheduler = scheduler
        self.routing = routing
        self.logs = logs
        self.status = status
        self.tickets = tickets
        self.buildpacks = buildpacks
        gitBudget = GitRequestBudget(perHour: settings.gitRequestsPerHour)
        self.ports = ports
        self.settings = settings
        self.epoch = epoch
        self.adminTokenHash = adminTokenHash
        self.streamRecheckSeconds = streamRecheckSeconds
        self.faults = faults
        self.clock = clock
        self.retention = retention
    }
}
