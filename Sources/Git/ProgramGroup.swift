import Domain
import Glibc
import Synchronization

/// A program that leads a session of its own, and all that it started there.
final class ProgramGroup: Sendable {
    private struct State {
        var isClosed = false
        var reason: PaaSError?
    }

    private let leader: pid_t
    private let state = Mutex(State())

    init(leader: pid_t) { self.leader = leader }

    /// Why it was stopped from here, if it was.
    var reason: PaaSError? { state.withLock { $0.reason } }

    /// Asks all of it to end. Does nothing once it is closed: the number may be somebody else's by then.
    func stop(_ reason: PaaSError? = nil) {
        state.withLock { state in
            guard !state.isClosed else { return }
            state.reason = state.reason ?? reason
            kill(-leader, SIGTERM)
        }
    }

    /// Ends what the leader left behind. To be called when the leader has ended and before it is waited for.
    func close() {
        state.withLock { state in
            guard !state.isClosed else { return }
            state.isClosed = true
            kill(-leader, SIGKILL)
        }
    }
}
