import Domain
import HTTPTypes
import Hummingbird

/// `/apps`, `/apps/{app}`
struct AppEndpoints: Sendable {
    let dependencies: APIDependencies

    var routes: [Route] {
        [
            Route(.get, "/api/v1/apps", query: Reply.listQuery, list),
            Route(.get, "/api/v1/apps/{app}", get),
            Route(.put, "/api/v1/apps/{app}", put),
            Route(.patch, "/api/v1/apps/{app}", patch),
            Route(.delete, "/api/v1/apps/{app}", query: ["mode", "timeout"], delete),
        ]
    }

    private func shape(_ app: App) -> JSONValue { Shapes.app(app, apiAddress: dependencies.settings.apiAddress) }

    @Sendable private func list(_ request: APIRequest) async throws -> Response {
        try Reply.list(try await dependencies.store.apps(for: request.principal).map(shape), request)
    }

    @Sendable private func get(_ request: APIRequest) async throws -> Response {
        Reply.json(shape(try await dependencies.app(request)))
    }

    @Sendable private func put(_ request: APIRequest) async throws -> Response {
        try request.requireChange()
        let name = request.parameter("app")
        try Names.validate(name, "app")
        let fields = try JSONFields(
            try await request.json(allowEmpty: true),
            allowed: ["name", "space", "stack", "labels", "buildpacks", "noPorts"])
        if let other = try fields.string("name"), other != name {
            throw JSONFields.impossible("name", "must be the name in the path")
        }
        let space = try fields.string("space")
        if let space { try Names.validate(space, "space") }
        let wanted = AppRequest(
            name: name, space: space, stack: try fields.string("stack"),
            labels: try Self.labels(fields) ?? [:], buildpacks: try fields.strings("buildpacks", limit: 20) ?? [],
            noPorts: try fields.bool("noPorts") ?? false)
        let (app, created) = try await dependencies.store.putApp(wanted, actor: request.principal, now: request.now)
        // Also when the app was there: a repository that a crash kept from being made is made now.
        try await dependencies.repositories.create(app: app.id)
        return Reply.put(shape(app), created: created, path: "/api/v1/apps/\(app.name)")
    }

    @Sendable private func patch(_ request: APIRequest) async throws -> Response {
        try request.requireChange()
        let app = try await dependencies.app(request)
        let fields = try JSONFields(
            try await request.json(), allowed: ["stack", "deployBranch", "buildpacks", "labels"])
        let branch = try fields.string("deployBranch")
        if let branch { try GitRefName.validateBranch(branch) }
        let patch = AppPatch(
            stack: try fields.string("stack"), deployBranch: branch,
            buildpacks: try fields.strings("buildpacks", limit: 20), labels: try Self.labels(fields))
        let changed = try await dependencies.store.patchApp(app.id, patch, actor: request.principal, now: request.now)
        if let branch { try await dependencies.repositories.setHead(app: app.id, branch: branch) }
        return Reply.json(shape(changed))
    }

    @Sendable private func delete(_ request: APIRequest) async throws -> Response {
        try request.requireChange()
        guard request.query["mode"] ?? "graceful" == "graceful", request.query["timeout"] == nil else {
            throw PaaSError(
                .invalid, "only a graceful deletion is offered now; leave out mode and timeout",
                invalidParameters: [.init(name: "mode", reason: "must be graceful")])
        }
        try await request.noBody()
        let app = try await dependencies.app(request)
        let operation = try await dependencies.store.deleteApp(app.id, actor: request.principal, now: request.now)
        dependencies.scheduler.wake(app.id)
        return Reply.accepted(operation)
    }

    private static func labels(_ fields: JSONFields) throws(PaaSError) -> [String: String]? {
        guard let labels = try fields.stringMap("labels", limit: 64) else { return nil }
        for (key, value) in labels where key.isEmpty || key.utf8.count > 128 || value.utf8.count > 256 {
            throw JSONFields.impossible("labels", "has a key above 128 or a value above 256 bytes")
        }
        return labels
    }
}

extension APIDependencies {
    /// The app that the path names, if the caller may know of it.
    func app(_ request: APIRequest) async throws(PaaSError) -> App {
        try await store.app(named: request.parameter("app"), for: request.principal)
    }
}
