import Domain
import FoundationEssentials
import HTTPTypes
import Hummingbird
import HummingbirdCore
import Logging
import NIOCore
import Synchronization

/// Serves the routing table on paasd's table socket: `GET /v1/table?router=ID`, and from routers
/// `POST /v1/routers/{id}/ack` and `POST /v1/routers/{id}/flows`.
///
/// There is no token: the socket's directory lets only the routers' user in.
struct RoutingResponder: HTTPResponder {
    typealias Context = BasicRequestContext

    static let keepAliveSeconds: Double = 2
    /// Routers repeat their acknowledgement every 5 s.
    static let patienceSeconds: Double = 15
    static let bodyLimit = 16 << 20

    let feed: any RoutingFeed
    private let keepAlive: Duration
    /// A router that acknowledges nothing for so long is no longer taken for connected: changes would wait for it for ever.
    private let patience: Duration
    private let hearing = RouterHearing()

    init(
        feed: any RoutingFeed, keepAlive: Duration = .seconds(keepAliveSeconds),
        patience: Duration = .seconds(patienceSeconds)
    ) {
        self.feed = feed
        self.keepAlive = keepAlive
        self.patience = patience
    }

    func respond(to request: Request, context: Context) async throws -> Response {
        do {
            return try await dispatch(request, context.logger)
        } catch {
            return APIResponder.failure(error, request: request, logger: context.logger)
        }
    }

    private func dispatch(_ request: Request, _ logger: Logger) async throws -> Response {
        let path = PercentDecoding.segments(request.uri.path) ?? []
        if path == ["v1", "table"] {
            guard request.method == .get else { return notAllowed("GET") }
            let query = try PercentDecoding.query(request.uri.query ?? "")
            return try await table(try router(query["router"] ?? ""), request.body, logger)
        }
        if path.count == 4, path[0] == "v1", path[1] == "routers", path[3] == "ack" {
            guard request.method == .post else { return notAllowed("POST") }
            return try await acknowledge(try router(path[2]), request)
        }
        if path.count == 4, path[0] == "v1", path[1] == "routers", path[3] == "flows" {
            guard request.method == .post else { return notAllowed("POST") }
            let reports = try await body([FlowReport].self, request, what: "a router's report of flows")
            try await feed.report(router: try router(path[2]), reports)
            return Reply.noContent()
        }
        throw PaaSError(.notFound, "this socket serves /v1/table?router=ID, /v1/routers/ID/ack and …/flows")
    }

    private func notAllowed(_ method: String) -> Response {
        Problem.response(
            PaaSError(.methodNotAllowed, "this path takes \(method)"), headers: [.allow: method])
    }

    private func router(_ id: String) throws(PaaSError) -> String {
        let isClean = id.utf8.allSatisfy {
            ($0 >= 97 && $0 <= 122) || ($0 >= 65 && $0 <= 90) || ($0 >= 48 && $0 <= 57) || "-_.".utf8.contains($0)
        }
        guard !id.isEmpty, id.utf8.count <= 64, isClean else {
            throw PaaSError(.malformed, "a router's id is 1 to 64 of A-Z, a-z, 0-9, -, _ and .")
        }
        return id
    }

    private func acknowledge(_ router: String, _ request: Request) async throws -> Response {
        let acknowledgement = try await body(RouterAcknowledgement.self, request, what: "a router's acknowledgement")
        hearing.heard(router)
        try await feed.acknowledge(router: router, acknowledgement)
        return Reply.noContent()
    }

    private func body<Value: Decodable>(_ type: Value.Type, _ request: Request, what: String) async throws -> Value {
        var bytes: [UInt8] = []
        for try await buffer in request.body {
            guard bytes.count + buffer.readableBytes <= Self.bodyLimit else {
                throw PaaSError(.tooLarge, "\(what) may have at most \(Self.bodyLimit) bytes")
            }
            bytes += buffer.readableBytesView
        }
        do {
            return try JSONDecoder().decode(type, from: Data(bytes))
        } catch {
            throw PaaSError(.malformed, "this is not \(what)", cause: error)
        }
    }

    // MARK: Table

    private enum Signal { case changed, tick }

    private func table(_ router: String, _ requestBody: RequestBody, _ logger: Logger) async throws -> Response {
        // Before the first read, so that no change falls between.
        let changes = feed.changes()
        // While the table can't be read, the router is told so by a status, not by a stream without a snapshot.
        let snapshot = try await feed.current()
        let feed = feed
        let keepAlive = keepAlive, patience = patience, hearing = hearing
        return Response(
            status: .ok, headers: [.contentType: "application/x-ndjson", .cacheControl: "no-store"],
            body: ResponseBody { writer in
                let opened = ContinuousClock.now
                feed.routerConnected(router)
                defer { feed.routerDisconnected(router) }
                try await writer.write(try Self.line(.snapshot(snapshot)))
                var last = snapshot
                let (signals, continuation) = AsyncStream.makeStream(
                    of: Signal.self, bufferingPolicy: .bufferingNewest(4))
                let forward = Task {
                    for await _ in changes { continuation.yield(.changed) }
                }
                let timer = Task {
                    while !Task.isCancelled {
                        try await Task.sleep(for: keepAlive)
                        continuation.yield(.tick)
                    }
                }
                defer {
                    forward.cancel()
                    timer.cancel()
                }
                try await StreamLife { continuation.finish() }.run(requestBody) {
                    for await signal in signals {
                        if hearing.silence(of: router, since: opened) > patience {
                            logger.error(
                                "a router acknowledges nothing and is disconnected; restart it if it does not come back",
                                metadata: ["router": "\(router)", "silence": "\(patience)"])
                            break
                        }
                        // At a tick too, because hints may be lost.
                        if let message = await Self.news(feed, &last, logger) {
                            try await writer.write(try Self.line(message))
                        } else if signal == .tick {
                            try await writer.write(try Self.line(.keepAlive))
                        }
                    }
                }
                try await writer.finish(nil)
            })
    }

    /// What the router has to hear to get from `last` to the present table; nil if that is the same, or can't be read now
    /// (the router goes on with what it has).
    private static func news(_ feed: any RoutingFeed, _ last: inout RoutingTable, _ logger: Logger) async
        -> RoutingMessage?
    {
        let table: RoutingTable
        do {
            guard try await feed.currentMark() != last.mark else { return nil }
            table = try await feed.current()
        } catch {
            logger.warning("routing table can't be read now", metadata: ["error": "\(ErrorChain(error))"])
            return nil
        }
        guard table.mark != last.mark else { return nil }
        defer { last = table }
        guard table.mark.tableID == last.mark.tableID, table.mark.bootID == last.mark.bootID,
            table.mark.revision >= last.mark.revision
        else { return .snapshot(table) }
        return table.change(from: last)
    }

    private static func line(_ message: RoutingMessage) throws -> ByteBuffer {
        var buffer = ByteBuffer()
        buffer.writeBytes(try JSONEncoder().encode(message))
        buffer.writeString("\n")
        return buffer
    }
}

/// When each router was last heard.
private final class RouterHearing: Sendable {
    private let last = Mutex<[String: ContinuousClock.Instant]>([:])

    func heard(_ router: String) { last.withLock { $0[router] = .now } }

    /// - Parameter opened: when its stream began.
    func silence(of router: String, since opened: ContinuousClock.Instant) -> Duration {
        let heard = last.withLock { $0[router] }
        return max(heard ?? opened, opened).duration(to: .now)
    }
}
