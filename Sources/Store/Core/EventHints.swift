import Postgres
import Synchronization

/// Tells all who follow events that there may be new ones, by one connection that listens. It is opened for the first of
/// them, and connects again by itself.
final class EventHints: Sendable {
    private struct State {
        var listener: PostgresListener?
        var followers: [Int: AsyncStream<Void>.Continuation] = [:]
        var next = 0
        var isClosed = false
    }

    private let configuration: PostgresConfiguration
    private let state = Mutex(State())

    init(_ configuration: PostgresConfiguration) { self.configuration = configuration }

    func follow() -> AsyncStream<Void> {
        let (stream, continuation) = AsyncStream<Void>.makeStream(bufferingPolicy: .bufferingNewest(1))
        let number = state.withLock { state -> Int? in
            if state.isClosed { return nil }
            state.next += 1
            state.followers[state.next] = continuation
            listen(&state)
            return state.next
        }
        guard let number else {
            continuation.finish()
            return stream
        }
        continuation.onTermination = { [weak self] _ in
            _ = self?.state.withLock { $0.followers.removeValue(forKey: number) }
        }
        return stream
    }

    func close() {
        let (listener, followers) = state.withLock { state in
            state.isClosed = true
            defer {
                state.listener = nil
                state.followers = [:]
            }
            return (state.listener, Array(state.followers.values))
        }
        listener?.close()
        for follower in followers { follower.finish() }
    }

    private func listen(_ state: inout State) {
        guard state.listener == nil else { return }
        do {
            let listener = try PostgresListener(configuration, channel: StoreTransaction.eventChannel)
            state.listener = listener
            Task { [weak self] in
                for await _ in listener.hints { self?.tell() }
            }
        } catch {
            // No thread or descriptor is left: followers look from time to time anyway, and the next one tries again.
        }
    }

    private func tell() {
        for follower in state.withLock({ Array($0.followers.values) }) { follower.yield() }
    }
}
