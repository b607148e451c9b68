import Domain
import HTTPTypes
import Hummingbird
import HummingbirdCore
import Logging
import NIOCore

/// Finds the route of a request, lets the authenticator look at it, and turns every error into a problem document.
struct APIResponder: HTTPResponder {
    typealias Context = BasicRequestContext

    let routes: [Route]
    let authenticator: Authenticator
    let git: GitEndpoint
    let store: any ControlStore
    let repetitions: RepeatedRequests
    let counter: RequestCounter
    let recheckSeconds: Double
    let clock: @Sendable () -> Timestamp

    func respond(to request: Request, context: Context) async throws -> Response {
        var response: Response
        do {
            response = try await dispatch(request, context.logger)
            if request.method == .head { response = response.createHeadResponse() }
        } catch {
            response = Self.failure(error, request: request, logger: context.logger)
        }
        counter.count(response.status)
        return response
    }

    /// The reply to an error that left an endpoint.
    static func failure(_ error: any Error, request: Request, logger: Logger) -> Response {
        guard let known = error as? PaaSError else {
            logger.error(
                "request failed",
                metadata: ["method": "\(request.method)", "path": "\(request.uri.path)", "error": "\(error)"])
            return Problem.response(
                PaaSError(.internal, "internal error; the platform's log has the details under this time"))
        }
        if Problem.status(known.code).code >= 500 {
            logger.error(
                "request failed",
                metadata: [
                    "method": "\(request.method)", "path": "\(request.uri.path)", "error": "\(ErrorChain(known))",
                ])
        }
        return Problem.response(known)
    }

    private func dispatch(_ request: Request, _ logger: Logger) async throws -> Response {
        guard let path = PercentDecoding.segments(request.uri.path) else {
            throw PaaSError(.malformed, "the path can't be decoded; use %XX escapes of UTF-8")
        }
        switch path {
        case ["healthz"]: return try Self.probe(request, "ok")
        case ["readyz"]:
            try await store.ping()
            return try Self.probe(request, "ready")
        default: break
        }
        if path.first == "git" { return try await git.respond(request, path: path, logger: logger) }
        return try await rest(request, path: path, logger)
    }

    static func probe(_ request: Request, _ word: String) throws -> Response {
        guard request.method == .get || request.method == .head else { return notAllowed(["GET", "HEAD"]) }
        return Response(
            status: .ok, headers: [.contentType: "text/plain; charset=utf-8", .cacheControl: "no-store"],
            body: .init(byteBuffer: ByteBuffer(string: word + "\n")))
    }

    private func rest(_ request: Request, path: [String], _ logger: Logger) async throws -> Response {
        let matching = routes.compactMap { route in route.match(path).map { (route: route, parameters: $0) } }
        guard !matching.isEmpty else {
            throw PaaSError(
                .notFound, "there is nothing at \(Names.quoted(request.uri.path)); the API is under /api/v1")
        }
        let method = request.method == .head ? HTTPRequest.Method.get : request.method
        // A literal path wins over one with a parameter because it comes first in the table.
        guard let found = matching.first(where: { $0.route.method == method }) else {
            var allowed = Set(matching.map(\.route.method.rawValue))
            if allowed.contains("GET") { allowed.insert("HEAD") }
            return Self.notAllowed(allowed.sorted())
        }
        let now = clock()
        let principal = try await authenticator.principal(request.headers, now: now)
        try CrossSite.refuse(request)
        let query = try PercentDecoding.query(request.uri.query ?? "")
        let unknown = query.keys.filter { !found.route.query.contains($0) }.sorted()
        guard unknown.isEmpty else {
            let known = found.route.query.sorted().joined(separator: ", ")
            throw PaaSError(
                .malformed,
                "unknown query parameter \(unknown.map { Names.quoted($0) }.joined(separator: ", ")); \(known.isEmpty ? "none is taken here" : "known ones: \(known)")",
                invalidParameters: unknown.map { .init(name: $0, reason: "unknown query parameter") })
        }
        var annotated = logger
        annotated[metadataKey: "principal"] = "\(principal.name)"
        let caller = CallerCheck(recheckSeconds: recheckSeconds) {
            [authenticator, clock, headers = request.headers] () async throws(PaaSError) in
            try await authenticator.principal(headers, now: clock())
        }
        return try await repetitions.respond(
            to: APIRequest(
                request: request, parameters: found.parameters, query: query, principal: principal, caller: caller,
                now: now, logger: annotated), route: found.route)
    }

    private static func notAllowed(_ methods: [String]) -> Response {
        let list = methods.joined(separator: ", ")
        return Problem.response(
            PaaSError(.methodNotAllowed, "this path takes \(list)"), headers: [.allow: list])
    }
}
