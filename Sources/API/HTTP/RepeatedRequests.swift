import Domain
import HTTPTypes
import Hummingbird
import HummingbirdCore
import Logging
import NIOCore
import Synchronization

/// Honours `Idempotency-Key`: a POST that is sent again with the same key is not done again, its first answer is given.
///
/// What is under way is known in memory alone: there is one paasd, and what another one did not finish will never be.
/// What is done is in the database.
final class RepeatedRequests: Sendable {
    static let replayedHeader = HTTPField.Name("Idempotency-Replayed")

    private let store: any ControlStore
    /// Fingerprints of what is under way.
    private let underWay = Mutex<[IdempotencyKey: [UInt8]]>([:])

    init(store: any ControlStore) { self.store = store }

    func respond(to request: APIRequest, route: Route) async throws -> Response {
        guard route.method == .post,
            let key = try RequestIdentity.key(request.headers, token: request.principal.token)
        else { return try await route.handler(request) }
        var request = request
        let isStreamed = route.takesArchive && UploadReceiver.isArchive(request.headers)
        var body: [UInt8]?
        if !isStreamed {
            let bytes = try await request.body()
            request.request.body = RequestBody(buffer: ByteBuffer(bytes: bytes))
            body = bytes
        }
        let identity = RequestIdentity(key: key, request: request.request, body: body)
        request.repetition = identity
        do {
            if let response = try await first(identity, now: request.now) {
                if isStreamed { await UploadReceiver.drop(request.request) }
                return response
            }
        } catch {
            if isStreamed { await UploadReceiver.drop(request.request) }
            throw error
        }
        // To its end, also when the caller has left: it may come back for the answer.
        let (begun, handler) = (request, route.handler)
        return try await Task { [self] in
            defer { underWay.withLock { $0[key] = nil } }
            return try await answer(begun, identity, handler, isStreamed: isStreamed)
        }.value
    }

    /// The answer to a request that is not the first one under its key; nil for the first, which is under way then.
    private func first(_ identity: RequestIdentity, now: Timestamp) async throws(PaaSError) -> Response? {
        let present = underWay.withLock { underWay in
            if let present = underWay[identity.key] { return Optional(present) }
            underWay[identity.key] = identity.fingerprint
            return nil
        }
        if let present {
            guard present == identity.fingerprint else { throw Self.other() }
            return Problem.response(
                PaaSError(.conflict, "the first request with this Idempotency-Key is still under way; ask again"),
                headers: [.retryAfter: "1"])
        }
        var isDone = true
        defer { if isDone { underWay.withLock { $0[identity.key] = nil } } }
        guard let kept = try await store.idempotentAnswer(identity.key, now: now) else {
            isDone = false
            return nil
        }
        guard kept.fingerprint == identity.fingerprint else { throw Self.other() }
        return Self.replay(kept)
    }

    private static func other() -> PaaSError {
        PaaSError(
            .invalid,
            "this Idempotency-Key was used for another request; choose a new key for each, and repeat one only with the same path and body",
            invalidParameters: [.init(name: "Idempotency-Key", reason: "used for another request")])
    }

    private static func replay(_ kept: IdempotentAnswer) -> Response {
        var headers: HTTPFields = [.cacheControl: "no-store"]
        if let replayedHeader { headers[replayedHeader] = "true" }
        for (name, value) in kept.headers { if let name = HTTPField.Name(name) { headers[name] = value } }
        return Response(
            status: .init(code: kept.status), headers: headers,
            body: kept.body.isEmpty ? .init() : .init(byteBuffer: ByteBuffer(bytes: kept.body)))
    }

    private func answer(
        _ request: APIRequest, _ identity: RequestIdentity, _ handler: Route.Handler, isStreamed: Bool
    ) async throws -> Response {
        var response: Response
        do {
            response = try await handler(request)
        } catch {
            // Given up in the midst, or in the hands of another paasd: nothing is decided.
            if let known = error as? PaaSError, known.code == .cancelled || known.code == .stale { throw error }
            response = APIResponder.failure(error, request: request.request, logger: request.logger)
        }
        // What failed may be tried again, and so may an archive that was refused: it may not have come whole.
        guard response.status.code < (isStreamed ? 400 : 500) else { return response }
        let kept: IdempotentAnswer
        if let length = response.body.contentLength, length <= Limits.idempotentAnswerBytes {
            kept = try await Self.collect(&response, identity)
        } else {
            // None is so large; one that were must not be done twice for it.
            var instead = Problem.response(
                PaaSError(
                    .conflict,
                    "this was done already, and its answer was too large to be kept; look at what it made, or send it with a new Idempotency-Key to do it once more"
                ))
            kept = try await Self.collect(&instead, identity)
        }
        do throws(PaaSError) {
            try await store.keepIdempotentAnswer(kept, identity.key, now: request.now)
        } catch {
            // It is done, and the caller is told so.
            request.logger.warning(
                "an answer can't be kept: a repetition of the request will be done again",
                metadata: ["path": "\(request.request.uri.path)", "error": "\(ErrorChain(error))"])
        }
        return response
    }

    /// Reads the body of an answer, which keeps it.
    private static func collect(_ response: inout Response, _ identity: RequestIdentity) async throws
        -> IdempotentAnswer
    {
        let collected = CollectedBody()
        try await response.body.write(collected)
        let body = collected.bytes.withLock { $0 }
        if !body.isEmpty { response.body = .init(byteBuffer: ByteBuffer(bytes: body)) }
        var headers: [String: String] = [:]
        for name in [HTTPField.Name.contentType, .location] {
            if let value = response.headers[name] { headers[name.rawName] = value }
        }
        return IdempotentAnswer(
            fingerprint: identity.fingerprint, status: response.status.code, headers: headers, body: body)
    }
}

/// Takes the body of an answer into memory.
private final class CollectedBody: ResponseBodyWriter {
    let bytes = Mutex<[UInt8]>([])

    func write(_ buffer: ByteBuffer) async throws { bytes.withLock { $0 += buffer.readableBytesView } }
    func finish(_ trailingHeaders: HTTPFields?) async throws {}
}
