import Domain
import Logging
import Synchronization

/// Stack builds that were asked for: one of each name at a time, going on after the request that began it.
///
/// Held in memory: after a restart of paasd the engine's own state of the stack is what counts.
final class StackBuilds: Sendable {
    struct Run: Sendable {
        var isRunning: Bool
        var error: ErrorReport?
    }

    private let engine: any BuildEngine
    private let epoch: Int64
    private let logger: Logger
    private let runs = Mutex<[String: Run]>([:])

    init(engine: any BuildEngine, epoch: Int64, logger: Logger) {
        self.engine = engine
        self.epoch = epoch
        self.logger = logger
    }

    /// The last build of a stack in this life of paasd.
    func run(_ name: String) -> Run? { runs.withLock { $0[name] } }

    /// - Throws: `conflict` if this stack is being built.
    func start(_ name: String) throws(PaaSError) {
        let begins = runs.withLock { runs in
            guard runs[name]?.isRunning != true else { return false }
            runs[name] = Run(isRunning: true)
            return true
        }
        guard begins else {
            throw PaaSError(.conflict, "stack \(name) is being built; paasctl stacks shows when it is ready")
        }
        Task { [engine, epoch, logger] in
            var report: ErrorReport?
            do {
                try await engine.buildStack(name, epoch: epoch)
                logger.info("stack built", metadata: ["stack": "\(name)"])
            } catch {
                logger.error("stack build failed", metadata: ["stack": "\(name)", "error": "\(ErrorChain(error))"])
                report = ErrorReport(error)
            }
            let ended = Run(isRunning: false, error: report)
            self.runs.withLock { $0[name] = ended }
        }
    }
}
