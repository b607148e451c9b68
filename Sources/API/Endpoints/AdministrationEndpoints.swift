import Domain
import HTTPTypes
import Hummingbird

/// `/spaces`, `/tokens`, `/whoami`, `/operations/{id}`
struct AdministrationEndpoints: Sendable {
    let dependencies: APIDependencies

    var routes: [Route] {
        [
            Route(.get, "/api/v1/spaces", query: Reply.listQuery, listSpaces),
            Route(.get, "/api/v1/spaces/{space}", getSpace),
            Route(.put, "/api/v1/spaces/{space}", putSpace),
            Route(.get, "/api/v1/tokens", query: Reply.listQuery, listTokens),
            Route(.post, "/api/v1/tokens", createToken),
            Route(.delete, "/api/v1/tokens/{id}", revokeToken),
            Route(.get, "/api/v1/whoami", whoami),
            Route(.get, "/api/v1/operations/{id}", operation),
        ]
    }

    @Sendable private func listSpaces(_ request: APIRequest) async throws -> Response {
        try Reply.list(try await dependencies.store.spaces(for: request.principal).map(Shapes.space), request)
    }

    @Sendable private func getSpace(_ request: APIRequest) async throws -> Response {
        let name = request.parameter("space")
        guard let space = try await dependencies.store.spaces(for: request.principal).first(where: { $0.name == name })
        else { throw PaaSError(.notFound, "there is no space \(Names.quoted(name)); paasctl spaces lists them") }
        return Reply.json(Shapes.space(space))
    }

    @Sendable private func putSpace(_ request: APIRequest) async throws -> Response {
        guard request.principal.mayMakeSpaces else {
            throw PaaSError(
                .forbidden, "only an admin or an operator of all spaces may make spaces; use such a token")
        }
        let name = request.parameter("space")
        try Names.validate(name, "space")
        let fields = try JSONFields(try await request.json(allowEmpty: true), allowed: ["name"])
        if let other = try fields.string("name"), other != name {
            throw JSONFields.impossible("name", "must be the name in the path")
        }
        let (space, created) = try await dependencies.store.putSpace(
            name: name, actor: request.principal, now: request.now)
        return Reply.put(Shapes.space(space), created: created, path: "/api/v1/spaces/\(name)")
    }

    @Sendable private func listTokens(_ request: APIRequest) async throws -> Response {
        try request.requireAdmin("list tokens")
        return try Reply.list(try await dependencies.store.tokens().map { Shapes.token($0) }, request)
    }

    @Sendable private func createToken(_ request: APIRequest) async throws -> Response {
        try request.requireAdmin("make tokens")
        let fields = try JSONFields(try await request.json(), allowed: ["role", "space", "expiresAt"])
        guard let role = try fields.choice("role", Role.allCases) else {
            throw PaaSError(
                .malformed,
                "field \"role\" is missing; send one of \(Role.allCases.map(\.rawValue).joined(separator: ", "))",
                invalidParameters: [.init(name: "role", reason: "required")])
        }
        var expiresAt: Timestamp?
        if let text = try fields.string("expiresAt") {
            guard let time = Timestamp(text), time > request.now else {
                throw JSONFields.impossible("expiresAt", "must be a time to come, as in 2030-01-31T00:00:00Z")
            }
            expiresAt = time
        }
        let space = try fields.string("space")
        if let space { try Names.validate(space, "space") }
        let secret = "paas_" + SecretText.random()
        let token = try await dependencies.store.createToken(
            role: role, space: space, expiresAt: expiresAt, secretHash: SecretText.hash(secret),
            actor: request.principal, now: request.now)
        return Reply.json(Shapes.token(token, secret: secret), status: .created)
    }

    @Sendable private func revokeToken(_ request: APIRequest) async throws -> Response {
        try request.requireAdmin("revoke tokens")
        try await request.noBody()
        let text = request.parameter("id")
        guard let id = TokenID(text) else {
            throw PaaSError(.notFound, "there is no token \(Names.quoted(text)); paasctl tokens lists them")
        }
        try await dependencies.store.revokeToken(id, actor: request.principal, now: request.now)
        return Reply.noContent()
    }

    @Sendable private func whoami(_ request: APIRequest) async throws -> Response {
        let principal = request.principal
        var space: String?
        if let id = principal.space {
            space = try await dependencies.store.spaces(for: principal).first { $0.id == id }?.name
        }
        return Reply.json(
            .object([
                .init("name", .string(principal.name)), .init("role", .string(principal.role.rawValue)),
                .init("space", .text(space)), .init("token", .string(principal.token.description)),
            ]))
    }

    @Sendable private func operation(_ request: APIRequest) async throws -> Response {
        let text = request.parameter("id")
        guard let id = OperationID(text) else {
            throw PaaSError(.notFound, "there is no operation \(Names.quoted(text)); ids are UUIDs")
        }
        return Reply.json(Shapes.operation(try await dependencies.store.operation(id, for: request.principal)))
    }
}
