import Domain
import HTTPTypes
import Hummingbird
import HummingbirdCore
import NIOCore

/// A reply of lines that ends by itself, in the form that the caller asks for: text, newline-delimited JSON
/// (`{"text":"…"}`), or server-sent events, numbered from 1, with an event `end` behind the last one. Only text has no
/// heartbeat.
struct LineStream: Sendable {
    private let form: StreamForm?

    init(_ request: APIRequest) {
        let asked = request.accepts("text/event-stream") || request.accepts("application/x-ndjson")
        form = asked ? StreamForm(request) : nil
    }

    private enum Item: Sendable {
        case line(String)
        case end
        case failed(any Error)
        case tick
    }

    /// - Parameters:
    ///   - skip: how many lines the caller has already.
    ///   - confirm: asked again and again whether the caller may still see this.
    func response(
        _ lines: AsyncThrowingStream<String, any Error>, skip: Int, to request: APIRequest,
        confirm: @escaping @Sendable () async throws(PaaSError) -> Void
    ) -> Response {
        let seconds = request.caller.recheckSeconds
        return Response(
            status: .ok,
            headers: form?.headers ?? [.contentType: "text/plain; charset=utf-8", .cacheControl: "no-store"],
            body: ResponseBody { writer in
                let (items, feed) = AsyncStream.makeStream(of: Item.self)
                let (demand, ask) = AsyncStream.makeStream(of: Void.self)
                // A line is read when the one before was taken, so that a slow reader holds nothing in memory.
                let reader = Task {
                    do {
                        var iterator = lines.makeAsyncIterator()
                        for await _ in demand {
                            guard let line = try await iterator.next() else { break }
                            feed.yield(.line(line))
                        }
                        feed.yield(.end)
                    } catch {
                        feed.yield(.failed(error))
                    }
                }
                let ticker = Task {
                    while !Task.isCancelled {
                        do { try await Task.sleep(for: .seconds(seconds)) } catch { return }
                        feed.yield(.tick)
                    }
                }
                defer {
                    reader.cancel()
                    ticker.cancel()
                }
                let life = StreamLife { feed.yield(.tick) }
                try await life.run(request.request.body) {
                    try await write(
                        life, items, ask, skip: skip, StreamGuard(seconds: seconds, confirm: confirm),
                        writer: &writer)
                }
                try await writer.finish(nil)
            })
    }

    private func write(
        _ life: StreamLife, _ items: AsyncStream<Item>, _ ask: AsyncStream<Void>.Continuation, skip: Int,
        _ guardian: StreamGuard, writer: inout any ResponseBodyWriter
    ) async throws {
        var guardian = guardian
        var count = 0
        let clock = ContinuousClock()
        var lastWrite = clock.now
        ask.yield()
        for await item in items {
            if life.isOver { return }
            switch item {
            case .line(let line):
                count += 1
                if count > skip {
                    try await writer.write(buffer(line, count))
                    lastWrite = clock.now
                }
                ask.yield()
            case .tick:
                if let form, clock.now - lastWrite >= .seconds(StreamForm.heartbeatSeconds) {
                    try await writer.write(form.heartbeat)
                    lastWrite = clock.now
                }
            case .end:
                if form == .serverSentEvents {
                    try await writer.write(StreamForm.serverSentEvents.item(.object([]), event: "end"))
                }
                return
            case .failed(let error):
                // Not over: without the event `end` the caller comes again, behind the last line that it got.
                if form == .serverSentEvents, (error as? PaaSError)?.code == .unavailable { return }
                return try await writer.write(failure(error))
            }
            do throws(PaaSError) {
                try await guardian.look()
            } catch {
                return try await writer.write(failure(error))
            }
        }
    }

    private func buffer(_ line: String, _ number: Int) -> ByteBuffer {
        form?.item(.object([.init("text", .string(line))]), id: "\(number)") ?? ByteBuffer(string: line + "\n")
    }

    private func failure(_ error: any Error) -> ByteBuffer {
        let known =
            error as? PaaSError
            ?? PaaSError(.internal, "internal error; the platform's log has the details", cause: error)
        return form?.failure(known) ?? ByteBuffer(string: " !     the log ended early: \(known.message)\n")
    }
}
