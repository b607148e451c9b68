import Domain
import HTTPTypes
import Hummingbird

/// `/apps/{app}/releases`, `/apps/{app}/releases/{version}`
struct ReleaseEndpoints: Sendable {
    let dependencies: APIDependencies

    var routes: [Route] {
        [
            Route(.get, "/api/v1/apps/{app}/releases", query: ["limit", "before"], list),
            Route(.post, "/api/v1/apps/{app}/releases", create),
            Route(.get, "/api/v1/apps/{app}/releases/{version}", get),
        ]
    }

    @Sendable private func list(_ request: APIRequest) async throws -> Response {
        let app = try await dependencies.app(request)
        let limit = try request.integer("limit", default: 50, in: 1...1000)
        let before = try request.integer("before", default: Int.max, in: 1...Int.max)
        let releases = try await dependencies.store.releases(
            app.id, limit: limit, before: before == Int.max ? nil : before)
        var headers: HTTPFields = [:]
        if releases.count == limit, let last = releases.last, last.version > 1 {
            headers = Reply.link(request, ["limit": "\(limit)", "before": "\(last.version)"])
        }
        return Reply.json(.array(releases.map { Shapes.release($0, app: app) }), headers: headers)
    }

    @Sendable private func get(_ request: APIRequest) async throws -> Response {
        let app = try await dependencies.app(request)
        let text = request.parameter("version")
        guard let version = Int(text.hasPrefix("v") ? text.dropFirst() : text[...]), version > 0 else {
            throw PaaSError(.notFound, "\(app.name) has no release \(Names.quoted(text)); versions are whole numbers")
        }
        let release = try await dependencies.store.release(app.id, version: version)
        let runs = try await dependencies.store.releaseRuns(app.id, version: version)
        return Reply.json(Shapes.release(release, runs: runs, app: app))
    }

    /// `{"rollback":3}`; `{"rollback":null}` for the last release that was current before this one; `{"slug":"sha256:…"}`;
    /// `{"promoteFrom":"staging"}` for the slug of another app's current release.
    @Sendable private func create(_ request: APIRequest) async throws -> Response {
        try request.requireChange()
        let app = try await dependencies.app(request)
        let fields = try JSONFields(try await request.json(), allowed: ["rollback", "slug", "promoteFrom"])
        let given = ["rollback", "slug", "promoteFrom"].filter { fields.has($0) }
        guard given.count == 1 else {
            throw PaaSError(
                .invalid, "send exactly one of rollback, slug and promoteFrom",
                invalidParameters: given.map { .init(name: $0, reason: "exactly one is taken") })
        }
        let operation: Operation
        if fields.has("promoteFrom") {
            operation = try await dependencies.store.promote(
                app.id, from: try fields.required("promoteFrom"), actor: request.principal, now: request.now
            ).operation
        } else if fields.has("rollback") {
            let version = try fields.integer("rollback")
            if let version, version < 1 || version > Int64(Int32.max) {
                throw JSONFields.impossible("rollback", "must be the version of a release")
            }
            operation = try await dependencies.store.rollback(
                app.id, to: version.map { Int($0) }, actor: request.principal, now: request.now
            ).operation
        } else {
            guard let slug = SlugDigest(try fields.required("slug")) else {
                throw JSONFields.impossible("slug", "must be sha256: and 64 hex digits")
            }
            operation = try await dependencies.store.release(
                app.id, slug: slug, actor: request.principal, now: request.now
            ).operation
        }
        dependencies.faults.reached(.releaseRecorded)
        dependencies.scheduler.wake(app.id)
        return Reply.accepted(operation)
    }
}
