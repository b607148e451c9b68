import Domain
import Logging

/// Everything that builds work with; the wiring fills it in.
public struct BuildParts: Sendable {
    public var store: any BuildStore
    public var engine: any ContainerEngine
    public var buildEngine: any BuildEngine
    public var sources: any SourceRepositories
    public var scheduler: any SchedulerWakeup
    public var faults: any FaultInjector
    public var log: any BuildLogStore
    public var uploads: any UploadStore
    /// Public ports of an app, to tell the pusher where it is.
    public var ports: @Sendable (AppID) async throws(PaaSError) -> [PortBinding]
    /// One release, to tell whether it is the first one that runs, and what it could run.
    public var release: @Sendable (AppID, Int) async throws(PaaSError) -> Release
    /// What a release runs once, to show it to the pusher.
    public var runs: @Sendable (AppID, Int) async throws(PaaSError) -> [ReleaseRun]
    /// How many processes an app is to have, to tell what runs after its first release.
    public var formation: @Sendable (AppID) async throws(PaaSError) -> Formation
    public var settings: Settings
    /// Environment of every build container besides what a build needs: proxy settings and the like. No secrets.
    public var environment: [String: String]
    /// Of the platform, for the provenance of slugs.
    public var version: String
    public var epoch: Int64
    public var now: @Sendable () -> Timestamp
    public var logger: Logger
    /// See `SlugLock`.
    let slugLock: SlugLock
    /// Raised when a build has ended.
    let buildEnded = Signal()

    public init(
        store: any BuildStore, engine: any ContainerEngine, buildEngine: any BuildEngine,
        sources: any SourceRepositories, scheduler: any SchedulerWakeup, faults: any FaultInjector,
        log: any BuildLogStore, uploads: any UploadStore,
        ports: @escaping @Sendable (AppID) async throws(PaaSError) -> [PortBinding],
        release: @escaping @Sendable (AppID, Int) async throws(PaaSError) -> Release,
        runs: @escaping @Sendable (AppID, Int) async throws(PaaSError) -> [ReleaseRun],
        formation: @escaping @Sendable (AppID) async throws(PaaSError) -> Formation, settings: Settings,
        environment: [String: String], version: String, epoch: Int64, now: @escaping @Sendable () -> Timestamp,
        slugLock: SlugLock = SlugLock(), logger: Logger
    ) {
        self.store = store
        self.engine = engine
        self.buildEngine = buildEngine
        self.sources = sources
        self.scheduler = scheduler
        self.faults = faults
        self.log = log
        self.uploads = uploads
        self.ports = ports
        self.release = release
        self.runs = runs
        self.formation = formation
        self.settings = settings
        self.environment = environment
        self.version = version
        self.epoch = epoch
        self.now = now
        self.slugLock = slugLock
        self.logger = logger
    }

    /// Whether a build's cache may still become the app's: not once it is being deleted, for nothing would remove it.
    func mayHaveCache(_ app: AppID) async throws(PaaSError) -> Bool {
        do throws(PaaSError) {
            return try await !store.app(app).deleting
        } catch  where error.code == .notFound {
            return false
        }
    }

    /// Names of the proxy variables that builds get from paasd's own environment.
    public static let proxyVariables = [
        "http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "PIP_INDEX_URL",
        "PIP_EXTRA_INDEX_URL", "PIP_TRUSTED_HOST",
    ]
}
