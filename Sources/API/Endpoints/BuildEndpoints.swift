import Domain
import HTTPTypes
import Hummingbird

/// `/apps/{app}/builds` and what belongs to one build; `/apps/{app}/build-cache`.
struct BuildEndpoints: Sendable {
    let dependencies: APIDependencies

    var routes: [Route] {
        [
            Route(.get, "/api/v1/apps/{app}/builds", query: ["limit", "before"], list),
            Route(
                .post, "/api/v1/apps/{app}/builds", query: ["noWait", "buildOnly", "clearCache"], takesArchive: true,
                create),
            Route(.get, "/api/v1/apps/{app}/builds/{id}", get),
            Route(.get, "/api/v1/apps/{app}/builds/{id}/provenance", provenance),
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
        var shapes: [JSONValue] = []
        for build in builds { shapes.append(await shape(build, app)) }
        return Reply.json(.array(shapes), headers: headers)
    }

    @Sendable private func get(_ request: APIRequest) async throws -> Response {
        let app = try await dependencies.app(request)
        return Reply.json(await shape(try await dependencies.store.build(app.id, request.parameter("id")), app))
    }

    private func shape(_ build: Build, _ app: App) async -> JSONValue {
        Shapes.build(
            build, app: app, waitsFor: build.state.isFinal ? nil : await dependencies.builds.waitsFor(build.id))
    }

    @Sendable private func provenance(_ request: APIRequest) async throws -> Response {
        let app = try await dependencies.app(request)
        let build = try await dependencies.store.build(app.id, request.parameter("id"))
        guard let provenance = try await dependencies.store.provenance(build.id), let slug = build.slug else {
            throw PaaSError(.notFound, "build \(build.number) made no slug, or was made before its provenance was kept")
        }
        return Reply.json(Shapes.statement(provenance, slug: slug))
    }

    /// A tar archive as the body, compressed or not; or `{"source":{"git":{"url","ref"}}}`; or `{"source":{"commit"}}`.
    /// Options: in the document, or as query parameters.
    @Sendable private func create(_ request: APIRequest) async throws -> Response {
        try request.requireChange()
        let app = try await dependencies.app(request)
        var options = Build.Options(
            noWait: try request.flag("noWait"), buildOnly: try request.flag("buildOnly"),
            clearCache: try request.flag("clearCache"))
        let build: Build
        if UploadReceiver.isArchive(request.headers) {
            let upload = try await UploadReceiver(builds: dependencies.builds).receive(
                request, for: app, limitBytes: dependencies.settings.checkoutLimitBytes)
            build = try await dependencies.builds.start(
                app, source: Build.Source(kind: .tar), options: options, upload: upload, actor: request.principal)
        } else {
            let source = try await source(request, app, &options)
            build = try await dependencies.builds.start(
                app, id: request.repetition?.build(of: app.id), source: source, options: options, upload: nil,
                actor: request.principal)
        }
        guard let id = build.operation else {
            throw PaaSError(.internal, "build \(build.number) was opened, but has no operation to follow it by")
        }
        return Reply.accepted(try await dependencies.store.operation(id, for: request.principal))
    }

    private func source(_ request: APIRequest, _ app: App, _ options: inout Build.Options) async throws -> Build.Source
    {
        let body = try JSONFields(
            try await request.json(), allowed: ["source", "noWait", "buildOnly", "clearCache"])
        options.noWait = try body.bool("noWait") ?? options.noWait
        options.buildOnly = try body.bool("buildOnly") ?? options.buildOnly
        options.clearCache = try body.bool("clearCache") ?? options.clearCache
        guard let source = body.value("source") else {
            throw PaaSError(
                .malformed,
                "field \"source\" is missing; send {\"source\":{\"commit\":\"SHA\"}}, {\"source\":{\"git\":{\"url\":\"…\",\"ref\":\"…\"}}}, or a tar archive as application/x-tar",
                invalidParameters: [.init(name: "source", reason: "required")])
        }
        let fields = try JSONFields(source, allowed: ["commit", "git"], what: "source")
        guard fields.has("commit") != fields.has("git") else {
            throw JSONFields.impossible("source", "must have exactly one of commit and git")
        }
        if let git = fields.value("git") {
            let fields = try JSONFields(git, allowed: ["url", "ref"], what: "source.git")
            let url = try fields.required("url")
            try SourceURL.validateGit(url, field: "source.git.url")
            let ref = try fields.string("ref")
            if let ref { try GitRefName.validateRevision(ref, field: "source.git.ref") }
            return Build.Source(kind: .git, ref: ref, url: url)
        }
        let wanted = try fields.required("commit")
        try GitRefName.validateRevision(wanted)
        do {
            let commit = try await dependencies.repositories.resolve(app: app.id, revision: wanted)
            return Build.Source(kind: .commit, commit: commit)
        } catch {
            guard error.code == .notFound else { throw error }
            throw PaaSError(
                .invalid, "commit \(Names.quoted(wanted)) is not in this app's repository; push it first",
                invalidParameters: [.init(name: "source.commit", reason: "not in the repository")], cause: error)
        }
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
        return Reply.json(await shape(now, app), status: .accepted, headers: operationLocation(build))
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
