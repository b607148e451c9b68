import Domain
import HTTPTypes
import Hummingbird
import HummingbirdCore
import Logging
import NIOCore

/// The two forms of endless replies: newline-delimited JSON and server-sent events.
enum StreamForm: Sendable {
    case lines
    case serverSentEvents

    /// Something is written at least this often, so that both sides notice a dead peer: an empty line, or a comment.
    static let heartbeatSeconds: Double = 15
    /// Pause between looks for something new, without and with hints of it.
    static let pollSeconds: Double = 1
    static let hintedPollSeconds: Double = 5

    init(_ request: APIRequest) { self = request.accepts("text/event-stream") ? .serverSentEvents : .lines }

    var headers: HTTPFields {
        switch self {
        case .lines: [.contentType: "application/x-ndjson", .cacheControl: "no-store"]
        case .serverSentEvents: [.contentType: "text/event-stream", .cacheControl: "no-store"]
        }
    }

    var heartbeat: ByteBuffer { ByteBuffer(string: self == .lines ? "\n" : ": \n\n") }

    func item(_ json: JSONValue, id: String? = nil, event: String? = nil) -> ByteBuffer {
        var buffer = ByteBuffer()
        if self == .serverSentEvents {
            if let id { buffer.writeString("id: \(id)\n") }
            if let event { buffer.writeString("event: \(event)\n") }
            buffer.writeString("data: ")
        }
        buffer.writeBytes(json.encoded())
        buffer.writeString(self == .serverSentEvents ? "\n\n" : "\n")
        return buffer
    }

    /// Tells where the stream begins, before there is anything in it: a caller that loses the connection resumes from there.
    func start(at id: String) -> [ByteBuffer] {
        self == .serverSentEvents ? [ByteBuffer(string: "id: \(id)\n\n")] : []
    }

    /// The status is out; the error is the stream's last item.
    func failure(_ error: PaaSError) -> ByteBuffer {
        let problem = Problem.json(error.code, error.message, error.invalidParameters)
        return item(.object([.init("error", problem)]), event: "error")
    }

    /// A reply that goes on until the caller leaves or may no longer see it.
    /// - Parameters:
    ///   - confirm: asked again and again whether the caller may still see this.
    ///   - hints: elements tell that a look is worth it now. It is looked from time to time anyway.
    ///   - poll: what is new, empty if nothing is. While a part of the platform is away, it is asked again.
    func response(
        first: [ByteBuffer], to request: APIRequest, hints: AsyncStream<Void>? = nil,
        confirm: @escaping @Sendable () async throws(PaaSError) -> Void,
        poll: @escaping @Sendable () async throws(PaaSError) -> [ByteBuffer]
    ) -> Response {
        let guardian = StreamGuard(seconds: request.caller.recheckSeconds, confirm: confirm)
        return Response(
            status: .ok, headers: headers,
            body: ResponseBody { writer in
                let alarm = Alarm(seconds: hints == nil ? Self.pollSeconds : Self.hintedPollSeconds, hints: hints)
                let life = StreamLife { alarm.ring() }
                try await life.run(request.request.body) {
                    try await follow(
                        life, first: first, guardian, alarm, logger: request.logger, poll: poll, writer: &writer)
                }
                try await writer.finish(nil)
            })
    }

    private func follow(
        _ life: StreamLife, first: [ByteBuffer], _ guardian: StreamGuard, _ alarm: Alarm, logger: Logger,
        poll: @Sendable () async throws(PaaSError) -> [ByteBuffer],
        writer: inout any ResponseBodyWriter
    ) async throws {
        var guardian = guardian
        // Headers and a first byte go out at once, so that the caller knows that it is connected.
        if first.isEmpty { try await writer.write(heartbeat) }
        for buffer in first { try await writer.write(buffer) }
        let clock = ContinuousClock()
        var lastWrite = clock.now
        var ticks = alarm.ticks.makeAsyncIterator()
        while !life.isOver {
            var parts: [ByteBuffer] = []
            do throws(PaaSError) {
                parts = try await poll()
            } catch {
                guard error.isPassing else { return try await writer.write(failure(error)) }
                logger.debug("stream waits", metadata: ["error": "\(ErrorChain(error))"])
            }
            for part in parts { try await writer.write(part) }
            do throws(PaaSError) {
                try await guardian.look()
            } catch {
                return try await writer.write(failure(error))
            }
            if !parts.isEmpty {
                lastWrite = clock.now
                continue
            }
            if clock.now - lastWrite >= .seconds(Self.heartbeatSeconds) {
                try await writer.write(heartbeat)
                lastWrite = clock.now
            }
            _ = await ticks.next()
        }
    }
}

/// Wakes an endless reply: at each hint, when rung, and at least every few seconds.
struct Alarm: Sendable {
    let ticks: AsyncStream<Void>
    private let continuation: AsyncStream<Void>.Continuation

    init(seconds: Double, hints: AsyncStream<Void>? = nil) {
        let (ticks, continuation) = AsyncStream.makeStream(of: Void.self, bufferingPolicy: .bufferingNewest(1))
        self.ticks = ticks
        self.continuation = continuation
        let clock = Task {
            while !Task.isCancelled {
                do { try await Task.sleep(for: .seconds(seconds)) } catch { return }
                continuation.yield()
            }
        }
        let copy = hints.map { hints in Task { for await _ in hints { continuation.yield() } } }
        continuation.onTermination = { _ in
            clock.cancel()
            copy?.cancel()
        }
    }

    func ring() { continuation.yield() }
}

/// Looks every few seconds whether an endless reply may go on: tokens end, and so do apps.
struct StreamGuard: Sendable {
    let seconds: Double
    let confirm: @Sendable () async throws(PaaSError) -> Void
    private var last = ContinuousClock().now

    init(seconds: Double, confirm: @escaping @Sendable () async throws(PaaSError) -> Void) {
        self.seconds = seconds
        self.confirm = confirm
    }

    /// - Throws: why not. While it can't be found out, the reply goes on.
    mutating func look() async throws(PaaSError) {
        let now = ContinuousClock().now
        guard now - last >= .seconds(seconds) else { return }
        do throws(PaaSError) {
            try await confirm()
            last = now
        } catch {
            guard error.isPassing else { throw error }
        }
    }
}

extension PaaSError {
    /// A part of the platform is away, and may be back in a moment.
    var isPassing: Bool { code == .unavailable || code == .timeout }
}
