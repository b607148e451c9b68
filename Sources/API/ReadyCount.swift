import Synchronization

/// Calls back once a number of things are ready.
final class ReadyCount: Sendable {
    private let remaining: Mutex<Int>
    private let callback: @Sendable () -> Void

    init(_ count: Int, _ callback: @escaping @Sendable () -> Void) {
        remaining = Mutex(count)
        self.callback = callback
    }

    func one() {
        let isLast = remaining.withLock { remaining in
            remaining -= 1
            return remaining == 0
        }
        if isLast { callback() }
    }
}
