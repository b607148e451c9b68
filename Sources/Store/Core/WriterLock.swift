import Domain
import Postgres
import Synchronization

/// What `PostgresStore` holds while it is the one writer.
final class WriterLock: Sendable {
    private struct State {
        var lock: PostgresAdvisoryLock?
        var ended: Bool?
        var nextWaiter = 0
        var waiters: [Int: CheckedContinuation<Bool, Never>] = [:]
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

    /// True once another writer is in charge, false if the store was closed or the waiting task was cancelled.
    func wait() async -> Bool {
        let id = state.withLock { state in
            state.nextWaiter += 1
            return state.nextWaiter
        }
        return await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let ended = state.withLock { state -> Bool? in
                    // A cancellation before this point found nobody to wake.
                    if state.ended == nil && Task.isCancelled { return false }
                    if state.ended == nil { state.waiters[id] = continuation }
                    return state.ended
                }
                if let ended { continuation.resume(returning: ended) }
            }
        } onCancel: {
            state.withLock { $0.waiters.removeValue(forKey: id) }?.resume(returning: false)
        }
    }

    private func end(_ superseded: Bool) {
        let (lock, waiters) = state.withLock { state in
            let out = (state.lock, state.waiters)
            state.lock = nil
            state.waiters = [:]
            if state.ended == nil { state.ended = superseded }
            return out
        }
        lock?.release()
        for waiter in waiters.values { waiter.resume(returning: superseded) }
    }
}
