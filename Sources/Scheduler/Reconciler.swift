import Domain
import Logging
import Synchronization

/// The scheduler's shell: looks at one app after another whenever something happened to it, has a plan made and does it.
///
/// One loop per app; calls of the engine run beside it, so that a stop that takes its grace does not delay a start. What it
/// remembers is only what makes it faster: with an empty memory it goes on from the store and the engine's list.
public final class Reconciler: SchedulerWakeup, Sendable {
    enum Job: Sendable {
        case look(AppID)
        case timer(AppID, Timestamp)
        /// The snapshot is the one that the plan was made from.
        case call(AppID, Action, InstanceID, number: Int, AppSnapshot?)
        /// Ends the wait for a container's last event.
        case giveUpWaiting(AppID, InstanceID, afterSeconds: Double)
    }

    struct State: Sendable {
        var queue = WorkQueue()
        var engine = EngineView()
        /// When the engine's list came that is kept up to date since.
        var engineSince: Timestamp?
        var routers = RouterRegistry()
        var baseRevision: Int64 = 0
        var upRevisions: [InstanceID: Int64] = [:]
        var startFailures: [InstanceID: String] = [:]
        var callFailures: [InstanceID: CallFailure] = [:]
        /// Calls of the engine under way, or answered while their event is still to come.
        var busy: [InstanceID: Call] = [:]
        /// Calls made so far.
        var callCount = 0
        /// Apps with something that waits for routers.
        var waitingForRouters: Set<AppID> = []
        /// Apps that could not be looked at while the engine was away.
        var waitingForEngine: Set<AppID> = []
    }

    /// Calls for one container that failed in a row.
    struct CallFailure: Sendable {
        var count = 0
        /// Why the last one failed, if it was to start it.
        var startError: String?
    }

    struct Call: Sendable {
        enum Kind: Sendable { case ensure, stop, remove }
        var app: AppID
        var kind: Kind
        /// Of a stop: when the container is killed. A harder stop takes the place of one under way.
        var killAt: Timestamp?
        /// Tells it from the call that took its place.
        var number: Int
        var awaitsExit = false
    }

    /// How many calls of a kind run at once for one app.
    static let startsAtOnce = 8
    static let stopsAtOnce = 64
    static let resyncSeconds = 10.0
    /// Plans in a row for one app after which a pause is made: something is at odds.
    static let plansInARow = 500

    let performer: ActionPerformer
    let publisher: any RoutingPublisher
    let settings: SchedulerSettings
    let bootID: String
    let clock: any Clock<Duration>
    let logger: Logger
    let state = Mutex(State())
    private let jobs: AsyncStream<Job>
    let enqueue: AsyncStream<Job>.Continuation

    /// - Parameters:
    ///   - epoch: this program's, from the store; everything it does is refused once another has a newer one.
    ///   - bootID: of this host, for the mark of the routing table.
    public init(
        store: any SchedulerStore, engine: any ContainerEngine, publisher: any RoutingPublisher, log: any LogSink,
        cleanup: any AppCleanup, faults: any FaultInjector = NoFaults(), epoch: Int64, bootID: String,
        settings: SchedulerSettings, logger: Logger = Logger(label: "scheduler"),
        clock: any Clock<Duration> = ContinuousClock(),
        now: @escaping @Sendable () -> Timestamp = { Timestamp.now() },
        makeID: @escaping @Sendable () -> InstanceID = { InstanceID.random() }
    ) {
        performer = ActionPerformer(
            store: store, engine: engine, faults: faults, log: log, cleanup: cleanup, epoch: epoch, now: now,
            makeID: makeID, bootID: bootID, releaseTimeoutSeconds: settings.releaseTimeoutSeconds)
        self.publisher = publisher
        self.settings = settings
        self.bootID = bootID
        self.clock = clock
        self.logger = logger
        (jobs, enqueue) = AsyncStream.makeStream()
    }

    // MARK: What others tell

    /// Something changed about the app.
    public func wake(_ app: AppID) {
        if state.withLock({ $0.queue.wake(app) }) { enqueue.yield(.look(app)) }
    }

    /// A router follows the table from now on. It counts even before it acknowledges anything.
    public func routerConnected(_ id: String) {
        let waiting = state.withLock { state in
            state.routers.connected(id, now: performer.now())
            return state.waitingForRouters
        }
        for app in waiting { wake(app) }
    }

    public func routerDisconnected(_ id: String) {
        let waiting = state.withLock { state in
            state.routers.disconnected(id, now: performer.now())
            return state.waitingForRouters
        }
        for app in waiting { wake(app) }
    }

    /// What a router serves now. Counts at once, and is recorded for the time after a restart.
    /// - Throws: `unavailable` when the database is away; the router reports again.
    public func acknowledge(router id: String, _ ack: RouterAcknowledgement) async throws(PaaSError) {
        let waiting = state.withLock { state -> Set<AppID>? in
            state.routers.acknowledged(id, ack, now: performer.now()) ? state.waitingForRouters : nil
        }
        guard let waiting else { return }
        for app in waiting { wake(app) }
        try await performer.store.recordAcknowledgement(router: id, ack, now: performer.now())
    }

    // MARK: Running

    /// Runs until cancelled. Only to be called once.
    /// - Throws: `stale` when another paasd is in charge now; `CancellationError` when cancelled.
    public func run() async throws {
        try await loadRouting()
        try await withThrowingDiscardingTaskGroup { group in
            group.addTask { try await self.endingOnFailure { try await self.observeEngine() } }
            group.addTask { try await self.endingOnFailure { try await self.resync() } }
            for await job in jobs {
                group.addTask { try await self.endingOnFailure { try await self.perform(job) } }
            }
            group.cancelAll()
        }
        try Task.checkCancellation()
    }

    // A failing child cancels its siblings, but the loop that waits for jobs only ends with the stream.
    private func endingOnFailure(_ body: () async throws -> Void) async throws {
        do {
            try await body()
        } catch {
            enqueue.finish()
            throw error
        }
    }

    private func perform(_ job: Job) async throws {
        switch job {
        case .look(let app): try await look(app)
        case .timer(let app, let time):
            try await sleep(max(0, time.seconds(since: performer.now())))
            state.withLock { $0.queue.fired(app, at: time) }
            wake(app)
        case .call(let app, let action, let id, let number, let snapshot):
            try await call(app, action, id, number, snapshot)
        case .giveUpWaiting(let app, let id, let seconds):
            try await sleep(seconds)
            state.withLock { if $0.busy[id]?.awaitsExit == true { $0.busy[id] = nil } }
            wake(app)
        }
    }

    func sleep(_ seconds: Double) async throws {
        try await clock.sleep(for: .milliseconds(Int64((seconds * 1000).rounded(.up))))
    }

    private func loadRouting() async throws {
        var failures = 0
        while true {
            do {
                try await refreshRouters(first: true)
                return
            } catch {
                if error.code == .stale { throw error }
                failures += 1
                logger.warning("routing state can't be read yet", metadata: ["error": "\(ErrorChain(error))"])
            }
            try await sleep(Backoff.seconds(failures: failures))
        }
    }

    private func refreshRouters(first: Bool) async throws(PaaSError) {
        let mark = first ? try await performer.store.routingTable(bootID: bootID).mark : nil
        let records = try await performer.store.routers()
        state.withLock { state in
            if let mark { state.baseRevision = mark.revision }
            guard let tableID = mark?.tableID ?? state.routers.tableID else { return }
            state.routers.load(
                records, tableID: tableID, now: performer.now(), forgetAfterSeconds: settings.routerPatienceSeconds)
        }
    }

    /// Lost events and wake-ups do no harm: every app is looked at from time to time.
    private func resync() async throws {
        while true {
            do {
                let apps = try await performer.store.appIDs()
                for app in Set(apps).union(state.withLock { $0.engine.knownApps }) { wake(app) }
                try await refreshRouters(first: false)
            } catch {
                if error.code == .stale { throw error }
                logger.warning("apps can't be listed", metadata: ["error": "\(ErrorChain(error))"])
            }
            try await sleep(Self.resyncSeconds)
        }
    }

    /// Follows the engine; when it is lost, nothing is concluded from that.
    private func observeEngine() async throws {
        var failures = 0
        while true {
            do {
                state.withLock { $0.engine.willObserve() }
                for try await event in try await performer.engine.observe(epoch: performer.epoch) {
                    failures = 0
                    noticed(event)
                }
                logger.warning("the engine ended its stream")
            } catch  where (error as? PaaSError)?.code != .stale && !(error is CancellationError) {
                logger.warning("the engine can't be followed", metadata: ["error": "\(ErrorChain(error))"])
            }
            try Task.checkCancellation()
            state.withLock { $0.engine.lost() }
            failures += 1
            try await sleep(min(Backoff.seconds(failures: failures), 1))
        }
    }

    private func noticed(_ event: EngineEvent) {
        let apps = state.withLock { state in
            let wasCurrent = state.engine.isCurrent
            let apps = state.engine.apply(event)
            if !wasCurrent, state.engine.isCurrent { state.engineSince = performer.now() }
            for (id, call) in state.busy where call.awaitsExit {
                let container = state.engine.container(id)
                if container == nil || container?.state == .exited { state.busy[id] = nil }
            }
            return apps
        }
        for app in apps { wake(app) }
        if case .list = event {
            // Places that wait for an engine, with no container to be told of.
            let waiting = state.withLock { state in
                defer { state.waitingForEngine = [] }
                return state.waitingForEngine
            }
            for app in waiting { wake(app) }
        }
    }
}
