import Synchronization

/// Follows `NOTIFY` on one channel. A hint only: payloads may be dropped or merged, and after every (re)connection one
/// empty hint comes, because some may have been missed.
public final class PostgresListener: Sendable {
    /// Hints that wait for a slow reader; older ones are dropped.
    public static let maximumBuffered = 64

    public let hints: AsyncStream<String>
    private let continuation: AsyncStream<String>.Continuation
    private let closed: SharedFlag
    private let wake: WakeDescriptor

    private final class SharedFlag: Sendable {
        let value = Mutex(false)
    }

    /// - Parameter channel: a name of the program's own, of `a-z`, `0-9` and `_`.
    public init(_ configuration: PostgresConfiguration, channel: String) throws(PostgresError) {
        guard !channel.isEmpty,
            channel.utf8.allSatisfy({ ($0 >= 97 && $0 <= 122) || $0 == 95 || ($0 >= 48 && $0 <= 57) })
        else { throw PostgresError(.argument, "a channel name has a-z, 0-9 and _ only") }
        (hints, continuation) = AsyncStream.makeStream(
            of: String.self, bufferingPolicy: .bufferingNewest(Self.maximumBuffered))
        wake = try WakeDescriptor()
        closed = SharedFlag()
        try DedicatedThread.start { [continuation, wake, closed] in
            var delay: Int32 = 100
            while !closed.value.withLock({ $0 }) {
                do throws(PostgresError) {
                    let connection = try PostgresConnection(configuration)
                    try connection.run(script: "listen \(channel)")
                    delay = 100
                    continuation.yield("")
                    while !closed.value.withLock({ $0 }) {
                        try connection.waitForInput(wake: wake.descriptor, timeoutMilliseconds: 5000)
                        for payload in connection.takeNotifications() { continuation.yield(payload) }
                        _ = try connection.run("select 1")
                        // What came with its answer is read already, so that no input would tell of it.
                        for payload in connection.takeNotifications() { continuation.yield(payload) }
                    }
                } catch {
                    // Away: the next round connects again, less often the longer it lasts.
                    wake.pause(milliseconds: delay)
                    delay = min(delay * 2, 2000)
                }
            }
            continuation.finish()
        }
    }

    deinit { close() }

    /// Ends the stream and the connection.
    public func close() {
        closed.value.withLock { $0 = true }
        continuation.finish()
        wake.wake()
    }
}
