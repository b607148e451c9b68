/// Everything the planner looks at for one app, as of one transaction.
public struct AppSnapshot: Sendable, Hashable {
    /// Crash history of one place (`web.1`), whichever instance holds it.
    public struct Slot: Sendable, Hashable {
        public var type: String
        public var index: Int
        public var release: Int
        /// Crashes in a row.
        public var restarts: Int
        public var nextStartAt: Timestamp
        public init(type: String, index: Int, release: Int, restarts: Int, nextStartAt: Timestamp) {
            self.type = type
            self.index = index
            self.release = release
            self.restarts = restarts
            self.nextStartAt = nextStartAt
        }
    }

    public var app: App
    public var formation: Formation
    public var current: Release?
    /// The newest `pending` or `rolling` release.
    public var candidate: Release?
    public var ports: [PortBinding]
    public var instances: [ProcessInstance]
    public var slots: [Slot]
    /// Not final ones.
    public var operations: [Operation]
    /// Runs of its releases that are to be begun now or that are running: `release` of the candidate, `postdeploy` of a release
    /// that was current. Those whose release is over are not here.
    public var runs: [ReleaseRun]
    /// A build of the app is queued or running.
    public var hasActiveBuild: Bool

    public init(
        app: App, formation: Formation, current: Release?, candidate: Release?, ports: [PortBinding],
        instances: [ProcessInstance], slots: [Slot], operations: [Operation], runs: [ReleaseRun] = [],
        hasActiveBuild: Bool = false
    ) {
        self.app = app
        self.formation = formation
        self.current = current
        self.candidate = candidate
        self.ports = ports
        self.instances = instances
        self.slots = slots
        self.operations = operations
        self.runs = runs
        self.hasActiveBuild = hasActiveBuild
    }
}

/// What a removed app leaves behind outside the database.
public struct RemovedApp: Sendable, Hashable {
    public var app: AppID
    public var builds: [BuildID]
    /// Those that nothing refers to any more. None while another build runs, which may be packing the same tree: they are
    /// left to the repair at start.
    public var slugs: [SlugDigest]
    public init(app: AppID, builds: [BuildID] = [], slugs: [SlugDigest] = []) {
        self.app = app
        self.builds = builds
        self.slugs = slugs
    }
}

/// What the scheduler needs of the store. Every method is one transaction and refuses (`stale`) when `epoch` is not the
/// newest.
public protocol SchedulerStore: Sendable {
    func appIDs() async throws(PaaSError) -> [AppID]
    func snapshot(_ app: AppID) async throws(PaaSError) -> AppSnapshot?
    func release(_ app: AppID, version: Int) async throws(PaaSError) -> Release
    func configVars(_ app: AppID, version: Int) async throws(PaaSError) -> ConfigVars

    /// Step 5: rows `planned`, before any call of the engine.
    func insertPlanned(_ instances: [ProcessInstance], epoch: Int64) async throws(PaaSError)
    /// Step 6.
    func markStarting(_ id: InstanceID, _ observation: ContainerObservation, epoch: Int64, now: Timestamp)
        async throws(PaaSError)
    /// Step 7: `up` and the routing revision in one transaction. Returns the revision.
    func markUp(_ id: InstanceID, _ observation: ContainerObservation, epoch: Int64, now: Timestamp)
        async throws(PaaSError) -> Int64
    /// `stopping`, out of the table. Returns the revision that no longer has them.
    func unroute(_ ids: [InstanceID], reason: String, epoch: Int64, now: Timestamp) async throws(PaaSError) -> Int64
    /// It ended by itself: `crashed`, out of the table, the slot's restarts counted and its next start set. Records the
    /// event `process.crashed`. Returns the revision.
    func markCrashed(
        _ id: InstanceID, exitCode: Int32?, reason: String, slotRestarts: Int, nextStartAt: Timestamp, epoch: Int64,
        now: Timestamp
    ) async throws(PaaSError) -> Int64
    /// It ended after the platform's own stop.
    func markExited(_ id: InstanceID, exitCode: Int32?, epoch: Int64, now: Timestamp) async throws(PaaSError)
    func setStopAt(_ id: InstanceID, _ at: Timestamp, epoch: Int64) async throws(PaaSError)
    /// The engine forgot it and its address is free: the row goes.
    func removeInstance(_ id: InstanceID, epoch: Int64) async throws(PaaSError)
    /// The slot proved stable: its restarts count from 0 again.
    func resetSlot(_ app: AppID, type: String, index: Int, epoch: Int64) async throws(PaaSError)

    func markRolling(_ app: AppID, version: Int, epoch: Int64, now: Timestamp) async throws(PaaSError)
    /// `current`; the one before becomes `superseded`; its operation completes; event `release.current`.
    func markCurrent(_ app: AppID, version: Int, epoch: Int64, now: Timestamp) async throws(PaaSError)
    /// `failed` with why; its operation fails; event `release.failed`.
    func markReleaseFailed(_ app: AppID, version: Int, output: String, epoch: Int64, now: Timestamp)
        async throws(PaaSError)
    /// Writes the instance of a pending run, `planned`, and marks the run `running`, in one step: a run has one instance ever.
    /// The instance carries the boot id under which it was planned. Event `run.started`.
    /// - Throws: `conflict` if the run is not pending (any more).
    func beginRun(_ kind: ReleaseRun.Kind, version: Int, instance: ProcessInstance, epoch: Int64, now: Timestamp)
        async throws(PaaSError)
    /// A run's end, with what it wrote. A failed `release` fails its release, as `markReleaseFailed`. A run that was superseded
    /// stays so. The instance becomes `exited`, or `stopping` if it still lives. Event `run.succeeded`, `run.failed` or
    /// `run.stopped`. A repetition changes nothing.
    func endRun(_ app: AppID, _ end: ReleaseRunEnd, output: String, epoch: Int64, now: Timestamp)
        async throws(PaaSError)
    func finishOperation(
        _ id: OperationID, state: Operation.State, error: ErrorReport?, epoch: Int64, now: Timestamp
    ) async throws(PaaSError)
    func setOperationProgress(_ id: OperationID, _ progress: Double, epoch: Int64) async throws(PaaSError)
    /// Nothing of it runs any more: removes the app and everything of it but events. Nil if it is gone already.
    /// - Throws: `conflict` while a build of it is queued or running.
    func removeApp(_ app: AppID, epoch: Int64, now: Timestamp) async throws(PaaSError) -> RemovedApp?
    func recordEvent(kind: String, app: AppID?, data: [String: String], now: Timestamp) async throws(PaaSError)

    // Routing
    func routingTable(bootID: String) async throws(PaaSError) -> RoutingTable
    /// The table's mark alone.
    func routingMark(bootID: String) async throws(PaaSError) -> RoutingTable.Mark
    /// Remembers the router and what it acknowledged. `failed` bindings get state and reason; an event for each change.
    /// A repetition, or one that a later one overtook, changes nothing.
    func recordAcknowledgement(router: String, _ ack: RouterAcknowledgement, now: Timestamp) async throws(PaaSError)
    /// Routers that have ever acknowledged and were not removed, with the newest revision of the present table; -1: none of
    /// it yet.
    func routers() async throws(PaaSError) -> [RouterRecord]
}

public struct RouterRecord: Sendable, Hashable {
    public var id: String
    public var revision: Int64
    public var seenAt: Timestamp
    public init(id: String, revision: Int64, seenAt: Timestamp) {
        self.id = id
        self.revision = revision
        self.seenAt = seenAt
    }
}

/// Tells the scheduler that an app changed. A hint only: it looks at everything from time to time anyway.
public protocol SchedulerWakeup: Sendable {
    func wake(_ app: AppID)
}
