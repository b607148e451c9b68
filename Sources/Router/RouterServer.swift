import CLibUV
import Domain
import Logging
import OS
import Synchronization

/// A whole router: the packet loops and the control loop, each on a thread of its own.
public final class RouterServer: Sendable {
    private let configuration: RouterConfiguration
    private let shared: WorkerShared
    private let logger: Logger
    private let running = Mutex(0)
    private let ended = Gate()

    /// Raises the process's limit of open files to the hard one.
    /// - Throws: `invalid` for a setting that can't be used.
    public init(_ configuration: RouterConfiguration, logger: Logger) throws(PaaSError) {
        try configuration.validate()
        self.configuration = configuration
        self.logger = logger
        let loops = max(1, configuration.loops ?? Int(uv_available_parallelism()))
        let hard = slipway_uv_raise_descriptor_limit()
        let limit = min(hard, configuration.descriptorLimit ?? hard)
        shared = WorkerShared(
            loops: loops, control: Mailbox(), budget: DescriptorBudget(limit: limit, reserve: 128 + loops * 8),
            tableWait: configuration.tableWaitMilliseconds, skipTime: configuration.skipMilliseconds,
            halfClosedIdle: configuration.halfClosedIdleMilliseconds, logger: logger)
    }

    /// Starts all threads. To be called once.
    public func start() {
        let loops = shared.mailboxes.count
        running.withLock { $0 = loops + 1 }
        for number in 0..<loops {
            Thread.start("router-\(number)") {
                do throws(UVError) {
                    try Worker(number: number, shared: self.shared).run()
                } catch {
                    fatalError("a packet loop can't start: \(error)")
                }
                self.threadEnded()
            }
        }
        Thread.start("router-control") {
            do throws(UVError) {
                try ControlPlane(self.configuration, shared: self.shared, logger: self.logger).run()
            } catch {
                fatalError("the control loop can't start: \(error)")
            }
            self.threadEnded()
        }
    }

    /// Serves on until no flow is left or `drainMilliseconds` have passed, closes the ports, then ends. May be called from
    /// any thread, repeatedly.
    public func stop() { shared.control.send(.stop) }

    /// Blocks until the router has ended.
    public func wait() { ended.wait() }

    private func threadEnded() {
        let left = running.withLock { count in
            count -= 1
            return count
        }
        if left == 0 { ended.open() }
    }
}

/// Closed until it is opened, once.
private final class Gate: Sendable {
    // SAFETY: uv_sem_t is made for concurrent use; the memory lives as long as this object, which waiters retain.
    private nonisolated(unsafe) let raw: UnsafeMutablePointer<uv_sem_t>

    init() {
        raw = .allocate(capacity: 1)
        precondition(uv_sem_init(raw, 0) == 0, "uv_sem_init")
    }

    deinit {
        uv_sem_destroy(raw)
        raw.deallocate()
    }

    func open() { uv_sem_post(raw) }

    func wait() {
        uv_sem_wait(raw)
        // For the next one who waits.
        uv_sem_post(raw)
    }
}
