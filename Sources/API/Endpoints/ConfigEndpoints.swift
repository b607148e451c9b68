import Domain
import HTTPTypes
import Hummingbird

/// `/apps/{app}/config`: GET, and PATCH with a JSON merge patch. One PATCH makes one release. Values: see `ConfigForm`.
///
/// Config is what is wanted; whether it runs is in headers of GET: `X-Config-State` (`running`, `rolling`, `failed`,
/// `superseded`, or `waiting` for the next release), `X-Config-Release`, which brought it, and `X-Config-Running-Version`.
struct ConfigEndpoints: Sendable {
    /// Larger than other bodies, because many large values may be set at once.
    static let bodyLimit = 16 << 20
    let dependencies: APIDependencies

    var routes: [Route] {
        [
            Route(.get, "/api/v1/apps/{app}/config", get),
            Route(.patch, "/api/v1/apps/{app}/config", patch),
        ]
    }

    @Sendable private func get(_ request: APIRequest) async throws -> Response {
        try request.requireSecrets()
        let app = try await dependencies.app(request)
        let (vars, version) = try await dependencies.store.config(app.id)
        var headers: HTTPFields = [.eTag: EntityTag.text(Int64(version))]
        let status = try await dependencies.store.configStatus(app.id)
        for (name, value) in [
            ("X-Config-State", Shapes.configState(status)), ("X-Config-Release", status.release.map { "\($0)" }),
            ("X-Config-Running-Version", status.runningVersion.map { "\($0)" }),
        ] {
            if let name = HTTPField.Name(name) { headers[name] = value }
        }
        return Reply.json(ConfigForm.json(vars), headers: headers)
    }

    @Sendable private func patch(_ request: APIRequest) async throws -> Response {
        try request.requireChange()
        let app = try await dependencies.app(request)
        let changes = try ConfigForm.changes(try await request.json(limit: Self.bodyLimit))
        let ifMatch = try EntityTag.ifMatch(request.headers)
        let change = try await dependencies.store.patchConfig(
            app.id, changes: changes, ifMatch: ifMatch.map { Int($0) }, actor: request.principal, now: request.now)
        dependencies.faults.reached(.releaseRecorded)
        dependencies.scheduler.wake(app.id)
        return Reply.accepted(change.operation, headers: [.eTag: EntityTag.text(Int64(change.version))])
    }
}
