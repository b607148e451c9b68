import Domain

/// Time limits of the scheduler, in seconds.
public struct SchedulerSettings: Sendable, Hashable {
    /// From start to ready.
    public var bootTimeoutSeconds: Double
    /// From SIGTERM to SIGKILL.
    public var graceSeconds: Int
    /// A router that is away for so long no longer delays SIGTERM.
    public var routerPatienceSeconds: Double
    /// A process without ports counts as started in a rollout when it has run for so long.
    public var settleSeconds: Double
    /// From start to end of a run of a release; the engine keeps to it also while the scheduler is away.
    public var releaseTimeoutSeconds: Int

    public init(
        bootTimeoutSeconds: Double = 60, graceSeconds: Int = 30, routerPatienceSeconds: Double = 30,
        settleSeconds: Double = 2, releaseTimeoutSeconds: Int = 3600
    ) {
        self.bootTimeoutSeconds = bootTimeoutSeconds
        self.graceSeconds = graceSeconds
        self.routerPatienceSeconds = routerPatienceSeconds
        self.settleSeconds = settleSeconds
        self.releaseTimeoutSeconds = releaseTimeoutSeconds
    }

    public init(_ settings: Settings) {
        self.init(
            bootTimeoutSeconds: Double(settings.bootTimeoutSeconds),
            releaseTimeoutSeconds: settings.releaseTimeoutSeconds)
    }
}

/// What is known of one router.
public struct RouterFact: Sendable, Hashable {
    public var id: String
    /// Newest revision of the present table that it serves; -1: none yet.
    public var revision: Int64
    /// Since when it is away; nil: it is connected.
    public var awaySince: Timestamp?
    /// Live flows to instances that its table no longer has; nil: it has not reported since it connected.
    public var draining: [InstanceID: Int]?

    public init(id: String, revision: Int64, awaySince: Timestamp? = nil, draining: [InstanceID: Int]? = nil) {
        self.id = id
        self.revision = revision
        self.awaySince = awaySince
        self.draining = draining
    }
}

/// Everything that one plan is made from.
public struct PlannerInput: Sendable {
    /// Nil: no such app (any more).
    public var snapshot: AppSnapshot?
    /// The app's processes as the engine sees them, builds left out. Nil while the engine is away: then nothing is planned,
    /// because nothing may be stopped or given up for lost on no evidence.
    public var observed: [InstanceID: ContainerObservation]?
    /// Of the host as it runs now. What was planned under another one may have run, and nobody knows.
    public var bootID: String?
    /// Since when the engine is there without a break; nil: it was always there.
    public var engineSince: Timestamp?
    /// A build container of the app has a process that lives.
    public var buildRuns: Bool
    /// Every router that may still route.
    public var routers: [RouterFact]
    /// Revision at which an instance came into the table, where known.
    public var upRevisions: [InstanceID: Int64]
    /// At least the revision of every instance that is up and not in `upRevisions`.
    public var baseRevision: Int64
    /// Instances with a call of the engine under way.
    public var busy: Set<InstanceID>
    /// Those of them that are being stopped, and when each is killed.
    public var stopping: [InstanceID: Timestamp]
    /// Instances that the engine refused to start for a reason that trying again does not change.
    public var startFailures: [InstanceID: String]
    /// Why the last attempt to start an instance failed that is tried again.
    public var startErrors: [InstanceID: String]
    public var now: Timestamp
    public var settings: SchedulerSettings

    public init(
        snapshot: AppSnapshot?, observed: [InstanceID: ContainerObservation]?, bootID: String? = nil,
        engineSince: Timestamp? = nil,
        buildRuns: Bool = false,
        routers: [RouterFact] = [], upRevisions: [InstanceID: Int64] = [:], baseRevision: Int64 = 0,
        busy: Set<InstanceID> = [], stopping: [InstanceID: Timestamp] = [:],
        startFailures: [InstanceID: String] = [:], startErrors: [InstanceID: String] = [:], now: Timestamp,
        settings: SchedulerSettings = SchedulerSettings()
    ) {
        self.snapshot = snapshot
        self.observed = observed
        self.bootID = bootID
        self.engineSince = engineSince
        self.buildRuns = buildRuns
        self.routers = routers
        self.upRevisions = upRevisions
        self.baseRevision = baseRevision
        self.busy = busy
        self.stopping = stopping
        self.startFailures = startFailures
        self.startErrors = startErrors
        self.now = now
        self.settings = settings
    }
}
