import Synchronization

/// A session-level advisory lock, held on a connection and a thread of its own. Whoever holds it is told when it is lost.
public final class PostgresAdvisoryLock: Sendable {
    private struct State {
        var ended = false
        var waiters: [CheckedContinuation<Void, Never>] = []
    }

    private let state = Mutex(State())
    private let released = Mutex(false)
    private let wake: WakeDescriptor

    private init() throws(PostgresError) { wake = try WakeDescriptor() }

    deinit { release() }

    /// Takes the lock, trying for `waitSeconds`.
    /// - Returns: nil if another session holds it all that time.
    /// - Throws: `connection` if the server can't be reached.
    public static func acquire(
        _ configuration: PostgresConfiguration, key: Int64, waitSeconds: Double
    ) async throws -> PostgresAdvisoryLock? {
        let lock = try PostgresAdvisoryLock()
        let taken: Bool = try await withCheckedThrowingContinuation { continuation in
            do throws(PostgresError) {
                let hold = Hold(wake: lock.wake)
                try DedicatedThread.start { [weak lock] in
                    hold.run(configuration, key: key, waitSeconds: waitSeconds) {
                        continuation.resume(with: $0)
                    } isReleased: {
                        [weak lock] in
                        lock?.released.withLock { $0 } ?? true
                    }
                    lock?.end()
                }
            } catch {
                continuation.resume(throwing: error)
            }
        }
        return taken ? lock : nil
    }

    /// Returns once the lock is lost or released.
    public func waitUntilLost() async {
        await withCheckedContinuation { continuation in
            let ended = state.withLock { state in
                if !state.ended { state.waiters.append(continuation) }
                return state.ended
            }
            if ended { continuation.resume() }
        }
    }

    /// Gives the lock back by closing its connection.
    public func release() {
        released.withLock { $0 = true }
        wake.wake()
    }

    private func end() {
        let waiters = state.withLock { state in
            state.ended = true
            defer { state.waiters = [] }
            return state.waiters
        }
        for waiter in waiters { waiter.resume() }
    }

    /// The thread's work: take the lock, then watch the connection until it ends.
    private struct Hold: Sendable {
        let wake: WakeDescriptor

        func run(
            _ configuration: PostgresConfiguration, key: Int64, waitSeconds: Double,
            report: (Result<Bool, PostgresError>) -> Void, isReleased: () -> Bool
        ) {
            let connection: PostgresConnection
            do throws(PostgresError) {
                connection = try PostgresConnection(configuration)
                // Its session is idle for as long as it holds the lock.
                _ = try connection.run("select set_config('idle_session_timeout', '0', false)")
                let deadline = ContinuousClock.now.advanced(by: .seconds(waitSeconds))
                var taken = false
                while true {
                    taken = try connection.run("select pg_try_advisory_lock(\(key)) as taken").rows[0].get("taken")
                    if taken || ContinuousClock.now >= deadline { break }
                    wake.pause(milliseconds: 50)
                }
                report(.success(taken))
                guard taken else { return }
            } catch {
                report(.failure(error))
                return
            }
            while !isReleased() {
                do throws(PostgresError) {
                    try connection.waitForInput(wake: wake.descriptor, timeoutMilliseconds: 2000)
                    // A dead peer that closed nothing shows itself only when asked.
                    _ = try connection.run("select 1")
                } catch {
                    return
                }
            }
        }
    }
}
