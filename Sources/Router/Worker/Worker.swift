import CLibUV
import Domain
import Glibc
import Logging
import OS
import Synchronization

/// What the control side tells a worker, and workers tell each other.
enum WorkerMessage: Sendable {
    /// A connection that another worker took; two descriptors of the budget come with it.
    case accepted(Int32, RouteShared)
    case apply(TableUpdate, token: Int)
    /// A listening descriptor that is the worker's from now on.
    case listen(Int32, RouteShared)
    case ping(Int)
    /// Takes what waits at the ports, then closes them.
    case stopListening
    /// Ends all flows and the loop.
    case stop
}

/// A change of the table, for all workers.
final class TableUpdate: Sendable {
    let upserts: [RoutePlan]
    let removed: [BindingID]
    let closedListeners: [BindingID]
    /// False: listeners only, connections wait.
    let isValid: Bool

    init(upserts: [RoutePlan], removed: [BindingID], closedListeners: [BindingID], isValid: Bool) {
        self.upserts = upserts
        self.removed = removed
        self.closedListeners = closedListeners
        self.isValid = isValid
    }
}

/// What all workers share.
final class WorkerShared: Sendable {
    let mailboxes: [Mailbox<WorkerMessage>]
    let control: Mailbox<ControlMessage>
    let budget: DescriptorBudget
    let endings: [Atomic64]
    let logger: Logger
    /// Milliseconds that a connection waits for the first table after a reboot.
    let tableWait: UInt64
    /// Milliseconds for which a backend that refused is skipped.
    let skipTime: UInt64
    /// Most milliseconds of silence of a flow that one side has ended.
    let halfClosedIdle: UInt64

    init(
        loops: Int, control: Mailbox<ControlMessage>, budget: DescriptorBudget, tableWait: UInt64, skipTime: UInt64,
        halfClosedIdle: UInt64, logger: Logger
    ) {
        mailboxes = (0..<loops).map { _ in Mailbox() }
        endings = FlowEnding.allCases.map { _ in Atomic64() }
        self.control = control
        self.budget = budget
        self.tableWait = tableWait
        self.skipTime = skipTime
        self.halfClosedIdle = halfClosedIdle
        self.logger = logger
    }
}

/// A counter that several threads write.
final class Atomic64: Sendable {
    let value = Atomic<Int>(0)
}

/// One loop's part of the data plane: its listeners and its flows. Confined to its thread.
final class Worker {
    static let bufferSize = 65_536
    static let keptHandles = 1024
    private static let sweepTick: UInt64 = 250

    let number: Int
    let shared: WorkerShared
    let loop: UVLoop
    /// Every read of this loop goes here; what can't be written on at once is copied out.
    let buffer: UnsafeMutablePointer<CChar>
    var routes: [BindingID: RoutePlan] = [:]
    var isValid = false
    var listeners: [BindingID: Listener] = [:]
    var flows: [Flow?] = []
    var freeFlows: [Int] = []
    var wheel: TimingWheel
    var freeHandles: [UnsafeMutablePointer<uv_tcp_t>] = []
    let resets: PendingResets
    private var inbox: MailboxReceiver<WorkerMessage>?
    private var sweep: LoopTimer?
    private var resume: LoopTimer?
    private(set) var isStopping = false

    init(number: Int, shared: WorkerShared) throws(UVError) {
        self.number = number
        self.shared = shared
        loop = try UVLoop()
        resets = PendingResets(loop: loop, budget: shared.budget)
        buffer = .allocate(capacity: Self.bufferSize)
        wheel = TimingWheel(tick: Self.sweepTick, slots: 256, now: loop.now)
        loop.raw.pointee.data = Unmanaged.passUnretained(self).toOpaque()
        inbox = try MailboxReceiver(shared.mailboxes[number], loop: loop) { [unowned self] in receive($0) }
        sweep = LoopTimer(loop: loop) { [unowned self] in sweepFlows() }
        resume = LoopTimer(loop: loop) { [unowned self] in resumeListeners() }
    }

    /// Runs until the worker was told to stop.
    func run() {
        loop.run()
        for handle in freeHandles { handle.deallocate() }
        buffer.deallocate()
        loop.close()
    }

    private func receive(_ message: WorkerMessage) {
        switch message {
        case .accepted(let descriptor, let route): adopt(descriptor, route)
        case .apply(let update, let token):
            apply(update)
            shared.control.send(.applied(token))
        case .listen(let descriptor, let route): listen(OwnedFD(descriptor), route)
        case .ping(let token): shared.control.send(.pong(token))
        case .stopListening:
            for listener in listeners.values { while listener.accept() {} }
            closeListeners()
        case .stop: stop()
        }
    }

    private func apply(_ update: TableUpdate) {
        for id in update.closedListeners { listeners.removeValue(forKey: id)?.close() }
        for id in update.removed { routes[id] = nil }
        for plan in update.upserts { routes[plan.binding] = plan }
        guard update.isValid, !isValid else { return }
        isValid = true
        for flow in flows {
            if let flow, flow.phase == .waiting { begin(flow) }
        }
    }

    private func listen(_ descriptor: consuming OwnedFD, _ route: RouteShared) {
        guard !isStopping else { return }
        do throws(UVError) {
            listeners[route.binding] = try Listener(worker: self, descriptor, route)
        } catch {
            shared.control.send(.notListening(route.binding, error.description))
        }
    }

    private func closeListeners() {
        for listener in listeners.values { listener.close() }
        listeners = [:]
    }

    private func stop() {
        guard !isStopping else { return }
        isStopping = true
        closeListeners()
        for flow in flows {
            if let flow { finish(flow, .stopped) }
        }
        sweep?.close()
        resume?.close()
        resets.close()
        for message in inbox?.close() ?? [] { discard(message) }
    }

    /// Descriptors in messages that came too late are still ours to close.
    private func discard(_ message: WorkerMessage) {
        switch message {
        case .accepted(let descriptor, let route): turnAway(descriptor, route)
        case .listen(let descriptor, _): Glibc.close(descriptor)
        default: break
        }
    }

    // MARK: - Listeners

    /// Leaves this port's connections in the kernel's queue for a moment. The others find out for themselves.
    func pause(_ listener: Listener, _ route: RouteShared, _ reason: String) {
        listener.pause()
        if let resume, !resume.isActive { resume.start(after: 100) }
        guard shared.budget.paused(now: loop.now) else { return }
        var metadata: Logger.Metadata = ["reason": "\(reason)", "descriptors": "\(shared.budget.used)"]
        if let plan = routes[route.binding] {
            metadata["app"] = "\(plan.app)"
            metadata["binding"] = "\(plan.name)"
        }
        shared.logger.warning(
            "connections wait until others end; raise the router's limit of open files if they are all wanted",
            metadata: metadata)
    }

    private func resumeListeners() {
        for listener in listeners.values { listener.resume() }
    }

    // MARK: - Deadlines

    func schedule(_ flow: Flow, at deadline: UInt64) {
        wheel.schedule(flow.id, at: deadline, now: loop.now)
        if let sweep, !sweep.isActive { sweep.start(after: Self.sweepTick, every: Self.sweepTick) }
    }

    private func sweepFlows() {
        let now = loop.now
        while let id = wheel.popDue(now: now) {
            if let flow = flows[id] { checkDeadline(flow, now) }
        }
        if wheel.count == 0 { sweep?.stop() }
    }

    private func checkDeadline(_ flow: Flow, _ now: UInt64) {
        switch flow.phase {
        case .waiting:
            if now >= flow.deadline { finish(flow, .noTable) } else { schedule(flow, at: flow.deadline) }
        case .connecting:
            if now >= flow.deadline {
                attemptFailed(flow, UV_ETIMEDOUT.rawValue)
            } else {
                schedule(flow, at: flow.deadline)
            }
        case .lacking:
            if now >= flow.deadline { finish(flow, .internal) } else { connectNext(flow) }
        case .relaying:
            guard let plan = flow.plan else { return finish(flow, .internal) }
            let due = idleDeadline(flow, plan)
            if now >= due { finish(flow, .idle) } else { schedule(flow, at: due) }
        }
    }

    /// A flow that one side has ended is often one that the other side forgot.
    func idleDeadline(_ flow: Flow, _ plan: RoutePlan) -> UInt64 {
        let isHalf = flow.relay.fromClient == .finished || flow.relay.fromBackend == .finished
        return flow.lastActivity + (isHalf ? min(plan.idleMilliseconds, shared.halfClosedIdle) : plan.idleMilliseconds)
    }
}
