import Domain
import Synchronization

/// Keeps the removal of a slug's file apart from the moment in which a build takes the same file as its own: equal trees make
/// equal slugs, so what nobody needs may be made anew at any time. Held for short; first come, first served.
public final class SlugLock: Sendable {
    private struct State {
        var isHeld = false
        var waiting: [CheckedContinuation<Void, Never>] = []
    }
    private let state = Mutex(State())

    /// A lock that nobody holds. One per paasd: everything that removes slug files or takes them shares it.
    public init() {}

    /// Removes the files of slugs whose rows went with a deleted app, but for those that a build has taken as its own since.
    /// - Throws: what the store or the engine says; what is left then goes with a later look of the `RetentionCollector`.
    public func removeFiles(
        of slugs: [SlugDigest], store: any BuildStore, engine: any BuildEngine, epoch: Int64
    ) async throws(PaaSError) {
        for digest in slugs {
            try await withLock { () async throws(PaaSError) in
                guard try await !store.knownSlugs().contains(digest) else { return }
                try await engine.removeSlug(digest, epoch: epoch)
            }
        }
    }

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
