/// Runs `parts` at once until the first one ends, and ends like it. The others are not waited for: one that does not hear of
/// its cancellation must not keep a program alive that no longer does its work. Whoever calls this ends the process next.
func untilOneEnds(_ parts: [@Sendable () async throws -> Void]) async throws {
    let (ends, continuation) = AsyncStream.makeStream(of: Result<Void, any Error>.self)
    let tasks = parts.map { part in
        Task {
            do {
                try await part()
                continuation.yield(.success(()))
            } catch {
                continuation.yield(.failure(error))
            }
        }
    }
    defer { for task in tasks { task.cancel() } }
    for await end in ends { return try end.get() }
    // Nothing ends the stream but the cancellation of the caller.
    throw CancellationError()
}
