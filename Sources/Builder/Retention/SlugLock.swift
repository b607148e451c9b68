import Domain
import Synchronization

/// Keeps the removal of a slug's file apart from the moment in which a build takes the same file as its own: equal trees make
/// equal slugs, so what nobody needs may be made anew at any time. Held for short; first come, first served.
final class SlugLock: Sendable {
    private struct State {
        var isHeld = false
        var waiting: [CheckedContinuation<Void, Never>] = []
    }
    private let state = Mutex(State())

    func withLock<Value>(_ body: () async throws(PaaSError) -> Value) async throws(PaaSError) -> Value {
        await withCheckedContinuation { continuation in
            let isOurs = state.withLock { state in
                if state.isHeld {
                    state.waiting.append(continuation)
                    return false
                }
                state.isHeld = true
                return true
            }
            if isOurs { continuation.resume() }
        }
        defer {
            let next = state.withLock { state in
                if state.waiting.isEmpty {
                    state.isHeld = false
                    return CheckedContinuation<Void, Never>?.none
                }
                return state.waiting.removeFirst()
            }
            next?.resume()
        }
        return try await body()
    }
}
