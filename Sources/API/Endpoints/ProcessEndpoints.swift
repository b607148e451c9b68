import Domain
import HTTPTypes
import Hummingbird

/// `/apps/{app}/processes`, `/apps/{app}/processes/{name}`. DELETE replaces: of one process, of a type, or of all.
struct ProcessEndpoints: Sendable {
    let dependencies: APIDependencies

    var routes: [Route] {
        [
            Route(.get, "/api/v1/apps/{app}/processes", query: Reply.listQuery, list),
            Route(.delete, "/api/v1/apps/{app}/processes", replaceAll),
            Route(.get, "/api/v1/apps/{app}/processes/{name}", get),
            Route(.delete, "/api/v1/apps/{app}/processes/{name}", replace),
        ]
    }

    @Sendable private func list(_ request: APIRequest) async throws -> Response {
        let app = try await dependencies.app(request)
        let ports = try await dependencies.store.ports(app.id)
        let processes = try await dependencies.store.processes(app.id)
            .sorted { ($0.type, $0.index, $0.createdAt) < ($1.type, $1.index, $1.createdAt) }
        return try Reply.list(processes.map { Shapes.process($0, ports: ports) }, request)
    }

    @Sendable private func get(_ request: APIRequest) async throws -> Response {
        let app = try await dependencies.app(request)
        let name = request.parameter("name")
        let ports = try await dependencies.store.ports(app.id)
        let matching = try await dependencies.store.processes(app.id)
            .filter { $0.name == name || $0.id.description == name }
        // While a release rolls there are two of one name; the one that serves is the one to show.
        guard let process = matching.max(by: { Self.rank($0) < Self.rank($1) }) else {
            throw PaaSError(.notFound, "\(app.name) has no process \(Names.quoted(name)); paasctl ps lists them")
        }
        return Reply.json(Shapes.process(process, ports: ports))
    }

    private static func rank(_ process: ProcessInstance) -> (Int, Timestamp) {
        (process.state == .up ? 2 : process.state == .exited ? 0 : 1, process.createdAt)
    }

    @Sendable private func replace(_ request: APIRequest) async throws -> Response {
        try await replace(request, matching: request.parameter("name"))
    }

    @Sendable private func replaceAll(_ request: APIRequest) async throws -> Response {
        try await replace(request, matching: nil)
    }

    private func replace(_ request: APIRequest, matching name: String?) async throws -> Response {
        try request.requireChange()
        try await request.noBody()
        let app = try await dependencies.app(request)
        let operation = try await dependencies.store.replaceProcesses(
            app.id, matching: name, actor: request.principal, now: request.now)
        dependencies.scheduler.wake(app.id)
        return Reply.accepted(operation)
    }
}
