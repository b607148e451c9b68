import Domain
import Testing

@testable import paasd

@Suite struct FirstEndTests {
    /// Never ends, whatever happens to its task.
    @Sendable private static func deaf() async {
        // The continuation is kept so that its loss is not reported.
        await withUnsafeContinuation { (continuation: UnsafeContinuation<Void, Never>) in kept.append(continuation) }
    }
    nonisolated(unsafe) private static var kept: [UnsafeContinuation<Void, Never>] = []

    @Test(.timeLimit(.minutes(1))) func aPartThatFailsEndsAllAlsoIfAnotherDoesNotHearOfIt() async throws {
        let failure = PaaSError(.stale, "another one is in charge")
        let error = await #expect(throws: PaaSError.self) {
            try await untilOneEnds([Self.deaf, { throw failure }])
        }
        #expect(error?.code == .stale)
    }

    @Test(.timeLimit(.minutes(1))) func theOthersAreCancelled() async throws {
        let (ends, continuation) = AsyncStream.makeStream(of: Void.self)
        try await untilOneEnds([
            {
                defer { continuation.yield() }
                try await Task.sleep(for: .seconds(3600))
            },
            {},
        ])
        for await _ in ends { break }
    }
}
