import Domain
import HTTPTypes
import Hummingbird

/// `/apps/{app}/ports`, `/apps/{app}/ports/{name}`
struct PortEndpoints: Sendable {
    let dependencies: APIDependencies

    var routes: [Route] {
        [
            Route(.get, "/api/v1/apps/{app}/ports", query: Reply.listQuery, list),
            Route(.get, "/api/v1/apps/{app}/ports/{name}", get),
            Route(.put, "/api/v1/apps/{app}/ports/{name}", put),
            Route(.delete, "/api/v1/apps/{app}/ports/{name}", delete),
        ]
    }

    private func shape(_ port: PortBinding) -> JSONValue {
        Shapes.port(port, publicAddress: dependencies.settings.publicAddress)
    }

    @Sendable private func list(_ request: APIRequest) async throws -> Response {
        let app = try await dependencies.app(request)
        let ports = try await dependencies.store.ports(app.id).sorted { $0.name < $1.name }
        return try Reply.list(ports.map(shape), request)
    }

    @Sendable private func get(_ request: APIRequest) async throws -> Response {
        let app = try await dependencies.app(request)
        let name = request.parameter("name")
        guard let port = try await dependencies.store.ports(app.id).first(where: { $0.name == name }) else {
            throw PaaSError(
                .notFound, "\(app.name) has no port binding \(Names.quoted(name)); paasctl ports lists them")
        }
        return Reply.json(shape(port))
    }

    @Sendable private func put(_ request: APIRequest) async throws -> Response {
        try request.requireChange()
        let app = try await dependencies.app(request)
        let name = request.parameter("name")
        try Names.validateShort(name, "port")
        let wanted = try read(
            try JSONFields(
                try await request.json(),
                allowed: [
                    "name", "protocol", "process", "targetPort", "publicPort", "host", "path", "affinity",
                    "proxyProtocol", "drainSeconds", "plane",
                ]), name: name)
        let (port, created) = try await dependencies.store.putPort(
            app.id, wanted, range: dependencies.settings.portRange, actor: request.principal, now: request.now)
        dependencies.scheduler.wake(app.id)
        return Reply.put(shape(port), created: created, path: "/api/v1/apps/\(app.name)/ports/\(port.name)")
    }

    private func read(_ fields: JSONFields, name: String) throws(PaaSError) -> PortRequest {
        if let other = try fields.string("name"), other != name {
            throw JSONFields.impossible("name", "must be the name in the path")
        }
        guard let kind = try fields.choice("protocol", PortBinding.BindingProtocol.allCases) else {
            throw PaaSError(
                .malformed, "field \"protocol\" is missing; send {\"protocol\":\"tcp\"}",
                invalidParameters: [.init(name: "protocol", reason: "required")])
        }
        let offered = dependencies.ports
        try offer(kind, "protocol", offered.protocols)
        for name in ["host", "path"] where try fields.string(name) != nil {
            guard kind == .http || kind == .tls else { throw JSONFields.impossible(name, "is only for http and tls") }
        }
        let process = try fields.string("process")
        if let process { try Names.validateShort(process, "process type") }
        let affinity = try fields.choice("affinity", [PortBinding.Affinity.none, .source])
        if let affinity { try offer(affinity, "affinity", offered.affinities) }
        let proxy = try fields.choice("proxyProtocol", [PortBinding.ProxyProtocol.none, .v1, .v2])
        if let proxy { try offer(proxy, "proxyProtocol", offered.proxyProtocols) }
        let plane = try fields.choice("plane", [PortBinding.Plane.auto, .user, .kernel])
        if let plane { try offer(plane, "plane", offered.planes) }
        let drain = try fields.integer("drainSeconds")
        if let drain, !Limits.drainSeconds.contains(Int(drain)) {
            let range = Limits.drainSeconds
            throw JSONFields.impossible("drainSeconds", "must be from \(range.lowerBound) to \(range.upperBound)")
        }
        return PortRequest(
            name: name, protocol: kind, processType: process, targetPort: try fields.port("targetPort"),
            publicPort: try fields.port("publicPort"), affinity: affinity, proxyProtocol: proxy,
            drainSeconds: drain.map { Int($0) }, plane: plane)
    }

    private func offer<Choice: RawRepresentable<String> & Hashable>(
        _ choice: Choice, _ name: String, _ offered: Set<Choice>
    ) throws(PaaSError) {
        guard offered.contains(choice) else {
            throw JSONFields.impossible(
                name,
                "\(choice.rawValue) is not offered yet; use \(offered.map(\.rawValue).sorted().joined(separator: ", "))"
            )
        }
    }

    @Sendable private func delete(_ request: APIRequest) async throws -> Response {
        try request.requireChange()
        try await request.noBody()
        let app = try await dependencies.app(request)
        try await dependencies.store.deletePort(
            app.id, name: request.parameter("name"), actor: request.principal, now: request.now)
        dependencies.scheduler.wake(app.id)
        return Reply.noContent()
    }
}
