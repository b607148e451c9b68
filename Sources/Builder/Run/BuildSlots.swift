import Synchronization

/// How many builds run at once; the others wait in the order they came.
final class BuildSlots: Sendable {
    private struct State {
        var running = 0
        var waiting: [Int] = []
        var nextTicket = 0
    }
    private let state = Mutex(State())
    private let limit: Int
    /// Raised whenever the queue moves.
    let signal = Signal()

    init(limit: Int) { self.limit = limit }

    /// A place in the queue.
    func queue() -> Int {
        state.withLock { state in
            state.nextTicket += 1
            state.waiting.append(state.nextTicket)
            return state.nextTicket
        }
    }

    /// Nil: the slot is taken now. Else: how many builds are before this one, those that run included.
    func tryTake(_ ticket: Int) -> Int? {
        state.withLock { state in
            guard let place = state.waiting.firstIndex(of: ticket) else { return nil }
            if place == 0 && state.running < limit {
                state.waiting.removeFirst()
                state.running += 1
                return nil
            }
            return state.running + place
        }
    }

    /// Leaves the queue without a slot.
    func leave(_ ticket: Int) {
        state.withLock { state in state.waiting.removeAll { $0 == ticket } }
        signal.raise()
    }

    /// A build that already runs (adopted after a restart) counts at once, also above the limit.
    func takeNow() { state.withLock { $0.running += 1 } }

    func release() {
        state.withLock { $0.running -= 1 }
        signal.raise()
    }
}
