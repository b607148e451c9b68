import Domain
import Synchronization

/// One build that this paasd drives: who wants it cancelled, whether its outcome is decided, and a signal for each change.
final class BuildProgress: Sendable {
    private struct State {
        var cancelRequested = false
        var waitsFor: Int?
        var outcome: BuildOutcome?
        var ended = false
    }
    private let state = Mutex(State())
    /// Raised with every new line and every change.
    let signal = Signal()

    var cancelRequested: Bool { state.withLock { $0.cancelRequested } }
    /// How many builds of the host are before it; nil while it does not wait for a place.
    var waitsFor: Int? { state.withLock { $0.waitsFor } }
    var outcome: BuildOutcome? { state.withLock { $0.outcome } }
    /// Nobody drives the build any more, with or without an outcome.
    var ended: Bool { state.withLock { $0.ended } }

    func requestCancel() {
        state.withLock { $0.cancelRequested = true }
        signal.raise()
    }

    func waits(for others: Int?) { state.withLock { $0.waitsFor = others } }

    /// Returns when nobody drives the build any more or the waiting task is cancelled.
    func waitForEnd() async {
        while !Task.isCancelled {
            let version = signal.version
            if ended { return }
            await signal.wait(after: version)
        }
    }

    func end(_ outcome: BuildOutcome?) {
        state.withLock {
            $0.outcome = outcome
            $0.ended = true
        }
        signal.raise()
    }
}

/// Why the steps of a build ended early.
enum BuildStop: Error {
    /// It failed for this reason.
    case failed(PaaSError)
    /// A user cancelled it.
    case cancelled
    /// This paasd stops or is no longer in charge: the next one goes on from what is there.
    case interrupted
}
