import Glibc

/// State that threads wait on: a mutex with a condition. For plain threads only, never for the cooperative pool.
final class Monitor<State>: @unchecked Sendable {
    // SAFETY: `state` is touched only while `mutex` is held; both primitives are made for concurrent use and live on the
    // heap as long as this object.
    private var state: State
    private let mutex: UnsafeMutablePointer<pthread_mutex_t>
    private let condition: UnsafeMutablePointer<pthread_cond_t>

    init(_ state: State) {
        self.state = state
        mutex = .allocate(capacity: 1)
        condition = .allocate(capacity: 1)
        pthread_mutex_init(mutex, nil)
        var attributes = pthread_condattr_t()
        pthread_condattr_init(&attributes)
        pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC)
        pthread_cond_init(condition, &attributes)
        pthread_condattr_destroy(&attributes)
    }

    deinit {
        pthread_cond_destroy(condition)
        pthread_mutex_destroy(mutex)
        mutex.deallocate()
        condition.deallocate()
    }

    /// Reads or changes the state; wakes everyone who waits.
    func withLock<R, E: Error>(_ body: (inout State) throws(E) -> R) throws(E) -> R {
        pthread_mutex_lock(mutex)
        defer {
            pthread_cond_broadcast(condition)
            pthread_mutex_unlock(mutex)
        }
        return try body(&state)
    }

    /// Blocks until `body` returns something, or for `seconds`; nil then. `body` runs again after every change.
    func wait<R>(seconds: Double? = nil, _ body: (inout State) -> R?) -> R? {
        var until = timespec()
        clock_gettime(CLOCK_MONOTONIC, &until)
        if let seconds {
            let whole = Int(max(0, min(seconds, 1e9)))
            until.tv_sec += whole
            until.tv_nsec += Int((max(0, seconds) - Double(whole)) * 1e9)
            if until.tv_nsec >= 1_000_000_000 {
                until.tv_sec += 1
                until.tv_nsec -= 1_000_000_000
            }
        }
        pthread_mutex_lock(mutex)
        defer { pthread_mutex_unlock(mutex) }
        while true {
            if let result = body(&state) {
                pthread_cond_broadcast(condition)
                return result
            }
            if seconds == nil {
                pthread_cond_wait(condition, mutex)
            } else if pthread_cond_timedwait(condition, mutex, &until) == ETIMEDOUT {
                return body(&state)
            }
        }
    }
}

/// One thread at a time for each key; different keys at the same time.
final class KeyedLock<Key: Hashable & Sendable>: Sendable {
    private let held = Monitor<Set<Key>>([])

    func withLock<R, E: Error>(_ key: Key, _ body: () throws(E) -> R) throws(E) -> R {
        _ = held.wait { $0.insert(key).inserted ? true : nil }
        defer { held.withLock { _ = $0.remove(key) } }
        return try body()
    }
}
