import Domain
import HummingbirdCore
import NIOCore
import Synchronization

/// A git program's run that is closed exactly once: by whoever is done with it, or, when a reply was never sent because
/// the caller had left, with the last reference.
public final class OwnedExchange: Sendable {
    public let base: any GitExchange
    private let afterClose: @Sendable () -> Void
    private let isClosed = Mutex(false)
    private let spoiled = Mutex<PaaSError?>(nil)

    /// What was wrong with the request's body, if that is why it was closed.
    var bodyFailure: PaaSError? { spoiled.withLock { $0 } }

    init(_ base: any GitExchange, afterClose: @escaping @Sendable () -> Void = {}) {
        self.base = base
        self.afterClose = afterClose
    }

    deinit {
        guard !isClosed.withLock({ $0 }) else { return }
        Task { [base, afterClose] in
            await base.close()
            afterClose()
        }
    }

    public func close() async {
        let closes = isClosed.withLock { closed in
            defer { closed = true }
            return !closed
        }
        guard closes else { return }
        await base.close()
        afterClose()
    }

    /// The program must not take what came of the body so far for the whole.
    func close(because failure: PaaSError) async {
        spoiled.withLock { $0 = $0 ?? failure }
        await close()
    }

    /// Sends the program's output on, from the part that was read already to its end.
    func send(_ first: [UInt8]?, to writer: inout any ResponseBodyWriter) async throws {
        guard let first else { return }
        try await writer.write(ByteBuffer(bytes: first))
        while let part = try await base.read() { try await writer.write(ByteBuffer(bytes: part)) }
    }
}
