import Synchronization

/// A counter that tasks can wait on: `raise` wakes all who wait for a later value. Waiting ends early when the waiting task
/// is cancelled or its time is up; callers look at the state again in any case.
final class Signal: Sendable {
    private struct State {
        var version = 0
        var nextWaiter = 0
        var waiters: [Int: CheckedContinuation<Void, Never>] = [:]
    }
    private let state = Mutex(State())

    var version: Int { state.withLock { $0.version } }

    func raise() {
        let waiting = state.withLock { state in
            state.version += 1
            defer { state.waiters.removeAll() }
            return Array(state.waiters.values)
        }
        for waiter in waiting { waiter.resume() }
    }

    /// Returns once the version is above `version`, the task is cancelled, or `timeout` is over.
    func wait(after version: Int, timeout: Duration? = nil) async {
        let id = state.withLock { state in
            state.nextWaiter += 1
            return state.nextWaiter
        }
        let alarm = timeout.map { limit in
            Task {
                do { try await Task.sleep(for: limit) } catch { return }
                self.release(id)
            }
        }
        defer { alarm?.cancel() }
        await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let wait = state.withLock { state in
                    // A cancellation before this point found nobody to release.
                    if state.version > version || Task.isCancelled { return false }
                    state.waiters[id] = continuation
                    return true
                }
                if !wait { continuation.resume() }
            }
        } onCancel: {
            release(id)
        }
    }

    private func release(_ id: Int) {
        let waiter = state.withLock { $0.waiters.removeValue(forKey: id) }
        waiter?.resume()
    }
}

/// Opened once, for good.
final class Gate: Sendable {
    private let isOpenNow = Mutex(false)
    let signal = Signal()

    var isOpen: Bool { isOpenNow.withLock { $0 } }

    func open() {
        isOpenNow.withLock { $0 = true }
        signal.raise()
    }
}
