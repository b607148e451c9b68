import Domain
import Postgres
import Synchronization

/// What `PostgresStore` holds while it is the one writer.
final class WriterLock: Sendable {
    private struct State {
        var lock: PostgresAdvisoryLock?
        var ended: Bool?
        var waiters: [CheckedContinuation<Bool, Never>] = []
    }

    private let state = Mutex(State())

    /// Keeps `lock`; gives it back at once if the store was closed meanwhile.
    func hold(_ lock: PostgresAdvisoryLock) {
        let (old, closed) = state.withLock { state -> (PostgresAdvisoryLock?, Bool) in
            if state.ended != nil { return (nil, true) }
            defer { state.lock = lock }
            return (state.lock, false)
        }
        old?.release()
        if closed { lock.release() }
    }

    var isEnded: Bool { state.withLock { $0.ended != nil } }

    /// Another writer is in charge.
    func superseded() { end(true) }
    func close() { end(false) }

    /// True once another writer is in charge, false if the store was closed.
    func wait() async -> Bool {
        await withCheckedContinuation { continuation in
            let ended = state.withLock { state -> Bool? in
                if state.ended == nil { state.waiters.append(continuation) }
                return state.ended
            }
            if let ended { continuation.resume(returning: ended) }
        }
    }

    private func end(_ superseded: Bool) {
        let (lock, waiters) = state.withLock { state in
            let out = (state.lock, state.waiters)
            state.lock = nil
            state.waiters = []
            if state.ended == nil { state.ended = superseded }
            return out
        }
        lock?.release()
        for waiter in waiters { waiter.resume(returning: superseded) }
    }
}
