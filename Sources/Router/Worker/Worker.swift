import CLibUV
import Domain
import Glibc
import Logging
import OS
import Synchronization

/// What the control side tells a worker, and workers tell each other.
enum WorkerMessage: Sendable {
    /// A connection that another worker took; two descriptors of the budget come with it.
    case accepted(Int32, BindingID)
    case apply(TableUpdate, token: Int)
    /// A listening descriptor that is the worker's from now on.
    case listen(Int32, BindingID)
    case ping(Int)
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

    init(
        loops: Int, control: Mailbox<ControlMessage>, budget: DescriptorBudget, tableWait: UInt64, skipTime: UInt64,
        logger: Logger
    ) {
        mailboxes = (0..<loops).map { _ in Mailbox() }
        endings = FlowEnding.allCases.map { _ in Atomic64() }
        self.control = control
        self.budget = budget
        self.tableWait = tableWait
        self.skipTime = skipTime
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
    var resets: PendingResets?
    private var inbox: MailboxReceiver<WorkerMessage>?
    private var sweep: LoopTimer?
    private var resume: LoopTimer?
    private(set) var isStopping = false

    init(number: Int, shared: WorkerShared) throws(UVError) {
        self.number = number
        self.shared = shared
        loop = try UVLoop()
        buffer = .allocate(capacity: Self.bufferSize)
        wheel = TimingWheel(tick: Self.sweepTick, slots: 256, now: loop.now)
        loop.raw.pointee.data = Unmanaged.passUnretained(self).toOpaque()
        inbox = try MailboxReceiver(shared.mailboxes[number], loop: loop) { [unowned self] in receive($0) }
        sweep = LoopTimer(loop: loop) { [unowned self] in sweepFlows() }
        resume = LoopTimer(loop: loop) { [unowned self] in resumeListeners() }
        resets = PendingResets(loop: loop)
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
        case .accepted(let descriptor, let binding): adopt(descriptor, binding)
        case .apply(let update, let token):
            apply(update)
            shared.control.send(.applied(token))
        case .listen(let descriptor, let binding): listen(OwnedFD(descriptor), binding)
        case .ping(let token): shared.control.send(.pong(token))
        case .stopListening: closeListeners()
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

    private func listen(_ descriptor: consuming OwnedFD, _ binding: BindingID) {
        guard !isStopping else { return }
        do throws(UVError) {
            listeners[binding] = try Listener(worker: self, descriptor, binding)
        } catch {
            // The descriptor is ours and fresh: only a bug leads here.
            shared.logger.critical("a listener can't be watched", metadata: ["error": "\(error)"])
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
        resets?.close()
        for message in inbox?.close() ?? [] { discard(message) }
    }

    /// Descriptors in messages that came too late are still ours to close.
    private func discard(_ message: WorkerMessage) {
        switch message {
        case .accepted(let descriptor, _):
            Glibc.close(descriptor)
            shared.budget.give(2)
        case .listen(let descriptor, _): Glibc.close(descriptor)
        default: break
        }
    }

    // MARK: - Listeners

    /// Out of descriptors: leaves connections in the kernel's queues for a moment.
    func pauseListeners(_ reason: String) {
        for listener in listeners.values { listener.pause() }
        if let resume, !resume.isActive { resume.start(after: 100) }
        if shared.budget.shouldReport() {
            shared.logger.warning(
                "no more connections are taken until others end; further such pauses are not logged",
                metadata: ["reason": "\(reason)"])
        }
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
        case .relaying:
            let due = flow.lastActivity + (flow.plan?.idleMilliseconds ?? 0)
            if now >= due { finish(flow, .idle) } else { schedule(flow, at: due) }
        }
    }
}
