import Domain
import Hummingbird
import HummingbirdCore
import Synchronization

/// Stands where a responder will be: until `begin`, everything but `/healthz` is answered 503.
final class StartingResponder<Begun: HTTPResponder & Sendable>: HTTPResponder
where Begun.Context == BasicRequestContext {
    typealias Context = BasicRequestContext

    private let begun = Mutex<Begun?>(nil)

    func begin(_ responder: Begun) { begun.withLock { $0 = responder } }

    func respond(to request: Request, context: Context) async throws -> Response {
        if let responder = begun.withLock({ $0 }) { return try await responder.respond(to: request, context: context) }
        if request.uri.path == "/healthz" { return try APIResponder.probe(request, "ok") }
        return Problem.response(
            PaaSError(
                .unavailable, "the platform is starting and waits for its database; what runs goes on; retry"))
    }
}
