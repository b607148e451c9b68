import Domain
import HTTPTypes
import Hummingbird
import NIOCore
import Synchronization

/// `/events`: a JSON list (`?after=`, `?limit=`, `?app=`; `?tail=N` for the newest), or, with `Accept: text/event-stream`,
/// server-sent events that `Last-Event-ID` resumes. A stream without either starts with what happens next.
struct EventEndpoints: Sendable {
    static let batch = 500
    /// How many ids back `tail` looks.
    static let lookBack: Int64 = 20_000
    let dependencies: APIDependencies

    var routes: [Route] { [Route(.get, "/api/v1/events", query: ["after", "limit", "app", "tail"], get)] }

    @Sendable private func get(_ request: APIRequest) async throws -> Response {
        // An unknown app is an error, not an empty list.
        var app: App?
        if let name = request.query["app"] {
            app = try await dependencies.store.app(named: name, for: request.principal)
        }
        return request.accepts("text/event-stream")
            ? try await stream(request, app) : try await list(request, app?.name)
    }

    private func list(_ request: APIRequest, _ app: String?) async throws -> Response {
        let limit = try request.integer("limit", default: 100, in: 1...1000)
        if request.query["tail"] != nil {
            let count = try request.integer("tail", default: 20, in: 1...1000)
            return Reply.json(.array(try await tail(count, app, request.principal).map(Shapes.event)))
        }
        let after = Int64(try request.integer("after", default: 0, in: 0...Int.max))
        let events = try await dependencies.store.events(
            after: after, limit: limit, app: app, for: request.principal)
        var headers: HTTPFields = [:]
        if events.count == limit, let last = events.last {
            var query = ["after": "\(last.id)", "limit": "\(limit)"]
            query["app"] = app
            headers = Reply.link(request, query)
        }
        return Reply.json(.array(events.map(Shapes.event)), headers: headers)
    }

    private func tail(_ count: Int, _ app: String?, _ principal: Principal) async throws(PaaSError) -> [Event] {
        let newest = try await dependencies.store.lastEventID()
        var position = max(0, newest - Self.lookBack)
        var tail: [Event] = []
        while position < newest {
            let part = try await dependencies.store.events(after: position, limit: 1000, app: app, for: principal)
            guard let last = part.last else { break }
            position = last.id
            tail += part
            if tail.count > count { tail.removeFirst(tail.count - count) }
        }
        return tail
    }

    private func stream(_ request: APIRequest, _ app: App?) async throws -> Response {
        let store = dependencies.store
        let principal = request.principal
        let start: Int64
        if let name = HTTPField.Name("Last-Event-ID"), let text = request.headers[name] {
            guard let id = Int64(text), id >= 0 else {
                throw PaaSError(.malformed, "Last-Event-ID must be the id of an event, a whole number")
            }
            start = id
        } else if request.query["after"] != nil {
            start = Int64(try request.integer("after", default: 0, in: 0...Int.max))
        } else {
            start = try await store.lastEventID()
        }
        let position = Mutex(start)
        let form = StreamForm.serverSentEvents
        let confirmApp = app.map { dependencies.confirm($0, request) }
        let confirm: @Sendable () async throws(PaaSError) -> Void = { () async throws(PaaSError) in
            if let confirmApp { return try await confirmApp() }
            _ = try await request.caller.principal()
        }
        return form.response(
            first: form.start(at: "\(start)"), to: request, hints: store.eventHints(), confirm: confirm
        ) { () async throws(PaaSError) in
            let events = try await store.events(
                after: position.withLock { $0 }, limit: Self.batch, app: app?.name, for: principal)
            if let last = events.last { position.withLock { $0 = last.id } }
            return events.map { form.item(Shapes.event($0), id: "\($0.id)", event: $0.kind) }
        }
    }
}
