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
    /// Pause between looks for something new.
    static let pollMilliseconds = 250

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

    /// A reply that goes on until the caller leaves.
    /// - Parameter poll: what is new, empty if nothing is. While a part of the platform is away, it is asked again.
    func response(
        first: [ByteBuffer], to request: APIRequest,
        poll: @escaping @Sendable () async throws(PaaSError) -> [ByteBuffer]
    ) -> Response {
        Response(
            status: .ok, headers: headers,
            body: ResponseBody { writer in
                let life = StreamLife()
                try await life.run(request.request.body) {
                    try await follow(life, first: first, logger: request.logger, poll: poll, writer: &writer)
                }
                try await writer.finish(nil)
            })
    }

    private func follow(
        _ life: StreamLife, first: [ByteBuffer], logger: Logger,
        poll: @Sendable () async throws(PaaSError) -> [ByteBuffer],
        writer: inout any ResponseBodyWriter
    ) async throws {
        // Headers and a first byte go out at once, so that the caller knows that it is connected.
        if first.isEmpty { try await writer.write(heartbeat) }
        for buffer in first { try await writer.write(buffer) }
        let clock = ContinuousClock()
        var lastWrite = clock.now
        while !life.isOver {
            var parts: [ByteBuffer] = []
            do throws(PaaSError) {
                parts = try await poll()
            } catch {
                guard error.code == .unavailable || error.code == .timeout else {
                    // The status is out; the error is the stream's last item.
                    let problem = Problem.json(error.code, error.message, error.invalidParameters)
                    return try await writer.write(item(.object([.init("error", problem)]), event: "error"))
                }
                logger.debug("stream waits", metadata: ["error": "\(ErrorChain(error))"])
            }
            for part in parts { try await writer.write(part) }
            if !parts.isEmpty {
                lastWrite = clock.now
                continue
            }
            if clock.now - lastWrite >= .seconds(Self.heartbeatSeconds) {
                try await writer.write(heartbeat)
                lastWrite = clock.now
            }
            try await Task.sleep(for: .milliseconds(Self.pollMilliseconds))
        }
    }
}
