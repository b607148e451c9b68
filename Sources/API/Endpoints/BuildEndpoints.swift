import Domain
import HTTPTypes
import Hummingbird

/// `/apps/{app}/builds` and what belongs to one build; `/apps/{app}/build-cache`.
struct BuildEndpoints: Sendable {
    let dependencies: APIDependencies

    var routes: [Route] {
        [
            Route(.get, "/api/v1/apps/{app}/builds", query: ["limit", "before"], list),
            Route(.post, "/api/v1/apps/{app}/builds", create),
            Route(.get, "/api/v1/apps/{app}/builds/{id}", get),
            Route(.get, "/api/v1/apps/{app}/builds/{id}/log", query: ["follow"], log),
            Route(.post, "/api/v1/apps/{app}/builds/{id}/cancel", cancel),
            Route(.delete, "/api/v1/apps/{app}/build-cache", purgeCache),
        ]
    }

    @Sendable private func list(_ request: APIRequest) async throws -> Response {
        let app = try await dependencies.app(request)
        let limit = try request.integer("limit", default: 50, in: 1...1000)
        let before = try request.integer("before", default: Int.max, in: 1...Int.max)
        let builds = try await dependencies.store.builds(
            app.id, limit: limit, before: before == Int.max ? nil : before)
        var headers: HTTPFields = [:]
        if builds.count == limit, let last = builds.last, last.number > 1 {
            headers = Reply.link(request, ["limit": "\(limit)", "before": "\(last.number)"])
        }
        return Reply.json(.array(builds.map { Shapes.build($0, app: app) }), headers: headers)
    }

    @Sendable private func get(_ request: APIRequest) async throws -> Response {
        let app = try await dependencies.app(request)
        return Reply.json(
            Shapes.build(try await dependencies.store.build(app.id, request.parameter("id")), app: app))
    }

    @Sendable private func create(_ request: APIRequest) async throws -> Response {
        try request.requireChange()
        let app = try await dependencies.app(request)
        let type = (request.headers[.contentType] ?? "").lowercased()
        if type.contains("gzip") || type.contains("tar") || type.contains("octet-stream") {
            throw PaaSError(
                .invalid,
                "builds from an uploaded archive are not offered yet; push the source with git, or send {\"source\":{\"commit\":\"SHA\"}} for a commit that was pushed before"
            )
        }
        let body = try JSONFields(try await request.json(), allowed: ["source"])
        guard let source = body.value("source") else {
            throw PaaSError(
                .malformed, "field \"source\" is missing; send {\"source\":{\"commit\":\"SHA\"}}",
                invalidParameters: [.init(name: "source", reason: "required")])
        }
        let fields = try JSONFields(source, allowed: ["commit", "git"], what: "source")
        if fields.has("git") {
            throw PaaSError(
                .invalid,
                "builds from a git URL are not offered yet; push the commit to this app's repository and send {\"source\":{\"commit\":\"SHA\"}}",
                invalidParameters: [.init(name: "source.git", reason: "not offered yet")])
        }
        let wanted = try fields.required("commit")
        try GitRefName.validateRevision(wanted)
        let commit: String
        do {
            commit = try await dependencies.repositories.resolve(app: app.id, revision: wanted)
        } catch {
            guard error.code == .notFound else { throw error }
            throw PaaSError(
                .invalid, "commit \(Names.quoted(wanted)) is not in this app's repository; push it first",
                invalidParameters: [.init(name: "source.commit", reason: "not in the repository")], cause: error)
        }
        let build = try await dependencies.builds.start(
            app, source: Build.Source(kind: .commit, commit: commit), options: Build.Options(),
            actor: request.principal)
        guard let id = build.operation else {
            throw PaaSError(.internal, "build \(build.number) was opened, but has no operation to follow it by")
        }
        return Reply.accepted(try await dependencies.store.operation(id, for: request.principal))
    }

    @Sendable private func cancel(_ request: APIRequest) async throws -> Response {
        try request.requireChange()
        try await request.noBody()
        let app = try await dependencies.app(request)
        let build = try await dependencies.store.build(app.id, request.parameter("id"))
        guard !build.state.isFinal else {
            throw PaaSError(.conflict, "build \(build.number) has ended already (\(build.state.rawValue))")
        }
        try await dependencies.builds.cancel(build.id)
        let now = try await dependencies.store.build(app.id, build.id.description)
        return Reply.json(Shapes.build(now, app: app), status: .accepted, headers: operationLocation(build))
    }

    private func operationLocation(_ build: Build) -> HTTPFields {
        build.operation.map { [.location: "/api/v1/operations/\($0)"] } ?? [:]
    }

    @Sendable private func purgeCache(_ request: APIRequest) async throws -> Response {
        try request.requireChange()
        try await request.noBody()
        try await dependencies.builds.purgeCache(try await dependencies.app(request).id)
        return Reply.noContent()
    }

    @Sendable private func log(_ request: APIRequest) async throws -> Response {
        let app = try await dependencies.app(request)
        let build = try await dependencies.store.build(app.id, request.parameter("id"))
        let lines = try await dependencies.builds.log(build.id, follow: try request.flag("follow"))
        var skip = 0
        if let name = HTTPField.Name("Last-Event-ID"), let text = request.headers[name] {
            guard let number = Int(text), number >= 0 else {
                throw PaaSError(.malformed, "Last-Event-ID must be the number of a line of this log")
            }
            skip = number
        }
        return LineStream(request).response(
            lines, skip: skip, to: request, confirm: dependencies.confirm(app, request))
    }
}
