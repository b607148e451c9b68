import Glibc
import Synchronization

/// A fixed number of threads, each with its own connection, that work off one bounded queue. A connection that broke is
/// made again by the next transaction that needs it.
public final class PostgresPool: Sendable {
    /// How much of the database a transaction sees.
    public enum Mode: Sendable {
        case readWrite
        /// All statements see the same state; nothing can be changed.
        case snapshot
    }

    /// Callers that may wait at a time.
    public static let maximumWaiting = 1024

    struct Job {
        var id: UInt64
        var run: (Slot) -> Void
        var fail: @Sendable (PostgresError) -> Void
    }

    struct State {
        var waiting: [Job] = []
        var idle = 0
        var threads = 0
        var nextID: UInt64 = 0
        var closed = false
    }

    public let configuration: PostgresConfiguration
    // SAFETY: jobs hold closures made from @Sendable bodies and continuations; each runs once, on one worker.
    private let state: Mutex<UncheckedState>
    private let work = ThreadSemaphore()

    // SAFETY: only reached with the mutex held.
    private struct UncheckedState: @unchecked Sendable { var value = State() }

    /// Connects lazily: a server that is away makes calls fail, not this.
    /// - Throws: `argument` if the connection string can't be read.
    public init(_ configuration: PostgresConfiguration) throws(PostgresError) {
        try configuration.validate()
        self.configuration = configuration
        state = Mutex(UncheckedState())
        for _ in 0..<max(1, configuration.poolSize) {
            let slot = SlotSource(configuration)
            state.withLock { $0.value.threads += 1 }
            try DedicatedThread.start { [weak self, work] in
                // The connection lives on this thread alone.
                let connection = slot.make()
                while true {
                    self?.markIdle(1)
                    work.wait()
                    guard let pool = self else { return }
                    pool.markIdle(-1)
                    guard let job = pool.take() else {
                        if pool.isClosed { return }
                        continue
                    }
                    job.run(connection)
                }
            }
        }
    }

    deinit { close() }

    /// How busy it is: its connections, those without work, and callers that wait for one.
    public var load: (connections: Int, idle: Int, waiting: Int) {
        state.withLock { ($0.value.threads, max(0, $0.value.idle), $0.value.waiting.count) }
    }

    /// Refuses what waits and what comes; connections end once their transaction is over.
    public func close() {
        let (left, threads) = state.withLock { state -> ([@Sendable (PostgresError) -> Void], Int) in
            guard !state.value.closed else { return ([], 0) }
            state.value.closed = true
            let left = state.value.waiting.map(\.fail)
            state.value.waiting = []
            return (left, state.value.threads)
        }
        for fail in left { fail(PostgresError(.closed, "the pool is closed")) }
        for _ in 0..<threads { work.signal() }
    }

    /// Runs `body` in one transaction, again from its start after a serialization failure or a deadlock: it must have no
    /// effect but on the database. What `body` throws rolls the transaction back.
    public func transaction<T: Sendable>(
        _ mode: Mode = .readWrite, retries: Int = 5, _ body: @escaping @Sendable (PostgresSession) throws -> T
    ) async throws -> T {
        try await withCheckedThrowingContinuation { (continuation: CheckedContinuation<T, any Error>) in
            enqueue { slot in
                continuation.resume(with: Result { try slot.transaction(mode, retries: retries, body) })
            } fail: { error in
                continuation.resume(throwing: error)
            }
        }
    }

    private func enqueue(
        run: @escaping @Sendable (Slot) -> Void, fail: @escaping @Sendable (PostgresError) -> Void
    ) {
        enum Outcome { case queued, mustWait(UInt64), refused(PostgresError) }
        let outcome = state.withLock { state -> Outcome in
            if state.value.closed { return .refused(PostgresError(.closed, "the pool is closed")) }
            if state.value.waiting.count >= Self.maximumWaiting {
                return .refused(PostgresError(.poolTimeout, "too many callers wait for a connection"))
            }
            let id = state.value.nextID
            state.value.nextID += 1
            state.value.waiting.append(Job(id: id, run: run, fail: fail))
            return state.value.waiting.count <= state.value.idle ? .queued : .mustWait(id)
        }
        switch outcome {
        case .refused(let error): fail(error)
        case .queued: work.signal()
        case .mustWait(let id):
            work.signal()
            let limit = configuration.acquireTimeoutSeconds
            Task { [weak self] in
                // Never cancelled: nobody holds this task.
                try? await Task.sleep(for: .seconds(limit))
                self?.expire(id)
            }
        }
    }

    private func expire(_ id: UInt64) {
        let fail = state.withLock { state -> (@Sendable (PostgresError) -> Void)? in
            guard let index = state.value.waiting.firstIndex(where: { $0.id == id }) else { return nil }
            return state.value.waiting.remove(at: index).fail
        }
        fail?(PostgresError(.poolTimeout, "all connections stayed busy"))
    }

    private func take() -> Job? {
        struct Box: @unchecked Sendable { var job: Job? }  // SAFETY: handed from the queue to one worker.
        return state.withLock { Box(job: $0.value.waiting.isEmpty ? nil : $0.value.waiting.removeFirst()) }.job
    }

    private func markIdle(_ change: Int) { state.withLock { $0.value.idle += change } }
    private var isClosed: Bool { state.withLock { $0.value.closed } }

    /// Carries the configuration to the thread, where the slot is made.
    private struct SlotSource: Sendable {
        let configuration: PostgresConfiguration
        init(_ configuration: PostgresConfiguration) { self.configuration = configuration }
        func make() -> Slot { Slot(configuration) }
    }

    /// A worker's connection, made when needed.
    final class Slot {
        private let configuration: PostgresConfiguration
        private var connection: PostgresConnection?

        init(_ configuration: PostgresConfiguration) { self.configuration = configuration }

        func transaction<T>(_ mode: Mode, retries: Int, _ body: (PostgresSession) throws -> T) throws -> T {
            var attempt = 0
            while true {
                let connection = try begin(mode)
                do {
                    let value = try body(PostgresSession(connection))
                    let tag = try connection.run("commit").commandTag
                    guard tag == "COMMIT" else {
                        throw PostgresError(.result, "the transaction was rolled back after a failed statement")
                    }
                    return value
                } catch {
                    rollBack(connection)
                    guard attempt < retries, (error as? PostgresError)?.isRetryable == true else { throw error }
                    attempt += 1
                    // Spreads out those that collided.
                    usleep(UInt32.random(in: 1_000...(5_000 << UInt32(min(attempt, 5)))))
                }
            }
        }

        /// Opens a transaction. A connection that turns out to be dead before anything was done is replaced once.
        private func begin(_ mode: Mode) throws(PostgresError) -> PostgresConnection {
            let start: SQL = mode == .snapshot ? "begin isolation level repeatable read read only" : "begin"
            if let connection, connection.isUsable {
                do throws(PostgresError) {
                    _ = try connection.run(start)
                    return connection
                } catch {
                    self.connection = nil
                    guard error.isUnavailability else { throw error }
                }
            }
            let fresh = try PostgresConnection(configuration)
            connection = fresh
            _ = try fresh.run(start)
            return fresh
        }

        private func rollBack(_ used: PostgresConnection) {
            guard used.isUsable else {
                connection = nil
                return
            }
            if used.isIdle { return }
            do throws(PostgresError) {
                _ = try used.run("rollback")
            } catch {
                // Closing it rolls back just as well.
                connection = nil
            }
        }
    }
}
