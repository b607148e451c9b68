import Domain
import HTTPTypes
import Hummingbird

/// `/keys`, `/keys/{id}`: SSH keys for git. Each acts with the rights of the token that added it.
struct KeyEndpoints: Sendable {
    let dependencies: APIDependencies

    var routes: [Route] {
        [
            Route(.get, "/api/v1/keys", query: Reply.listQuery, list),
            Route(.post, "/api/v1/keys", add),
            Route(.get, "/api/v1/keys/{id}", get),
            Route(.delete, "/api/v1/keys/{id}", remove),
        ]
    }

    @Sendable private func list(_ request: APIRequest) async throws -> Response {
        try Reply.list(try await dependencies.store.keys(for: request.principal).map(Shapes.key), request)
    }

    @Sendable private func add(_ request: APIRequest) async throws -> Response {
        let fields = try JSONFields(try await request.json(), allowed: ["key", "name"])
        let key = try SSHPublicKey(try fields.required("key"))
        let name = SSHPublicKey.clean(try fields.string("name") ?? key.comment)
        let wanted = AccessKey(
            id: .random(), token: request.principal.token, name: name, type: key.type,
            fingerprint: KeyFingerprint.of(key), createdAt: request.now)
        let made = try await dependencies.store.addKey(
            wanted, line: key.line, actor: request.principal, now: request.now)
        return Reply.json(
            Shapes.key(made), status: .created, headers: [.location: "/api/v1/keys/\(made.id)"])
    }

    @Sendable private func get(_ request: APIRequest) async throws -> Response {
        let id = try Self.id(request)
        guard let key = try await dependencies.store.keys(for: request.principal).first(where: { $0.id == id }) else {
            throw Self.missing("\(id)")
        }
        return Reply.json(Shapes.key(key))
    }

    @Sendable private func remove(_ request: APIRequest) async throws -> Response {
        try await request.noBody()
        try await dependencies.store.removeKey(try Self.id(request), actor: request.principal, now: request.now)
        return Reply.noContent()
    }

    private static func id(_ request: APIRequest) throws(PaaSError) -> KeyID {
        let text = request.parameter("id")
        guard let id = KeyID(text) else { throw missing(text) }
        return id
    }

    private static func missing(_ id: String) -> PaaSError {
        PaaSError(.notFound, "there is no key \(Names.quoted(id)); paasctl keys lists them")
    }
}
