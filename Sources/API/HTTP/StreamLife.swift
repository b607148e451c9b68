import HummingbirdCore
import ServiceLifecycle
import Synchronization

/// Tells an endless reply when to stop: the caller has left, or the server shuts down.
final class StreamLife: Sendable {
    private let ended = Mutex(false)
    private let onEnd: @Sendable () -> Void

    init(onEnd: @escaping @Sendable () -> Void = {}) { self.onEnd = onEnd }

    var isOver: Bool { ended.withLock { $0 } || Task.isCancelled }

    private func end() {
        ended.withLock { $0 = true }
        onEnd()
    }

    /// - Parameter body: the request's body as it came from the connection, which nobody reads otherwise.
    func run(_ body: RequestBody, _ operation: () async throws -> Void) async throws {
        try await withGracefulShutdownHandler {
            try await body.consumeWithInboundCloseHandler { _ in
                try await operation()
            } onInboundClosed: {
                self.end()
            }
        } onGracefulShutdown: {
            self.end()
        }
    }
}
