import Domain
import FoundationEssentials
import HTTPTypes
import Hummingbird
import NIOCore
import Synchronization

/// `/apps/{app}/logs`: `?tail=N`, `?follow=1`, `?process=`, `?source=`; NDJSON, or SSE by `Accept`. The SSE ids resume by
/// `Last-Event-ID`.
struct LogEndpoints: Sendable {
    static let maximumTail = 10_000
    static let batch = 1000
    let dependencies: APIDependencies

    var routes: [Route] {
        [Route(.get, "/api/v1/apps/{app}/logs", query: ["tail", "follow", "process", "source"], get)]
    }

    @Sendable private func get(_ request: APIRequest) async throws -> Response {
        let app = try await dependencies.app(request)
        var source: LogLine.Source?
        if let text = request.query["source"] {
            guard let known = LogLine.Source(rawValue: text) else {
                let known = LogLine.Source.allCases.map(\.rawValue).joined(separator: ", ")
                throw PaaSError(
                    .malformed, "query parameter source must be one of \(known)",
                    invalidParameters: [.init(name: "source", reason: "must be one of \(known)")])
            }
            source = known
        }
        let query = LogQuery(process: request.query["process"], source: source)
        let tail = try request.integer("tail", default: 100, in: 0...Self.maximumTail)
        let form = StreamForm(request)
        let reader = dependencies.logs
        let resumed = try Self.resumed(request)
        let follows = try request.flag("follow")
        // A tail of 0 still needs the place where the log ends now.
        let limit = follows && resumed != nil ? Self.batch : max(tail, 1)
        var page = try await reader.read(app, query, after: resumed, limit: limit)
        if tail == 0, resumed == nil || !follows { page.lines = [] }
        var first = Self.items(page, form)
        if follows, page.lines.isEmpty { first = form.start(at: Self.id(page.next)) }
        guard follows else {
            var buffer = ByteBuffer()
            for var item in first { buffer.writeBuffer(&item) }
            return Response(status: .ok, headers: form.headers, body: .init(byteBuffer: buffer))
        }
        let cursor = Mutex(page.next)
        return form.response(first: first, to: request, confirm: dependencies.confirm(app, request)) {
            () async throws(PaaSError) in
            let page = try await reader.read(app, query, after: cursor.withLock { $0 }, limit: Self.batch)
            cursor.withLock { $0 = page.next }
            return Self.items(page, form)
        }
    }

    /// The id goes with the last line of a page: a caller that resumes from there misses nothing.
    private static func items(_ page: LogPage, _ form: StreamForm) -> [ByteBuffer] {
        let id = id(page.next)
        return page.lines.enumerated().map { index, line in
            form.item(Shapes.logLine(line), id: index == page.lines.count - 1 ? id : nil)
        }
    }

    private static func id(_ cursor: LogCursor) -> String { Data(cursor.value.utf8).base64EncodedString() }

    private static func resumed(_ request: APIRequest) throws(PaaSError) -> LogCursor? {
        guard let name = HTTPField.Name("Last-Event-ID"), let id = request.headers[name] else { return nil }
        guard let data = Data(base64Encoded: id), let text = String(validating: data, as: UTF8.self) else {
            throw PaaSError(.malformed, "Last-Event-ID is no place in this log; leave it out to start at the end")
        }
        return LogCursor(text)
    }
}
