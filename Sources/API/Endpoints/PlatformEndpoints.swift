import Domain
import HTTPTypes
import Hummingbird

/// `/nodes`, `/stacks`, `/buildpacks`, `/status`, `/doctor`
struct PlatformEndpoints: Sendable {
    let dependencies: APIDependencies
    let stackBuilds: StackBuilds

    var routes: [Route] {
        [
            Route(.get, "/api/v1/nodes", query: Reply.listQuery, nodes),
            Route(.get, "/api/v1/stacks", query: Reply.listQuery, stacks),
            Route(.get, "/api/v1/stacks/{name}", stack),
            Route(.post, "/api/v1/stacks/{name}/build", buildStack),
            Route(.get, "/api/v1/buildpacks", query: Reply.listQuery, buildpacks),
            Route(.get, "/api/v1/status", status),
            Route(.get, "/api/v1/doctor", doctor),
        ]
    }

    @Sendable private func nodes(_ request: APIRequest) async throws -> Response {
        let node = try await dependencies.engine.capabilities()
        return try Reply.list(
            [
                .object([
                    .init("name", .string(node.node)), .init("state", .string("up")),
                    .init("runtime", .string(node.runtime)), .init("bootId", .string(node.bootID)),
                ])
            ], request)
    }

    @Sendable private func buildpacks(_ request: APIRequest) async throws -> Response {
        try Reply.list(
            dependencies.buildpacks.map {
                .object([.init("name", .string($0.name)), .init("looksFor", .string($0.looksFor))])
            }, request)
    }

    private func shape(_ stack: StackInfo) -> JSONValue {
        let run = stackBuilds.run(stack.name)
        return Shapes.stack(stack, state: run?.isRunning == true ? .building : stack.state, error: run?.error)
    }

    @Sendable private func stacks(_ request: APIRequest) async throws -> Response {
        let stacks = try await dependencies.buildEngine.listStacks().sorted { $0.name < $1.name }
        return try Reply.list(stacks.map(shape), request)
    }

    private func find(_ request: APIRequest) async throws(PaaSError) -> StackInfo {
        let name = request.parameter("name")
        let known = try await dependencies.buildEngine.listStacks()
        guard let stack = known.first(where: { $0.name == name }) else {
            let names = known.map(\.name).sorted().joined(separator: ", ")
            throw PaaSError(.notFound, "there is no stack \(Names.quoted(name)); known ones: \(names)")
        }
        return stack
    }

    @Sendable private func stack(_ request: APIRequest) async throws -> Response {
        Reply.json(shape(try await find(request)))
    }

    /// 202, with the stack in `Location`: it is `building` until it is `ready`, or back to what it was with `error`.
    @Sendable private func buildStack(_ request: APIRequest) async throws -> Response {
        try request.requireAdmin("build stacks")
        try await request.noBody()
        let stack = try await find(request)
        try stackBuilds.start(stack.name)
        return Reply.json(
            shape(stack), status: .accepted, headers: [.location: "/api/v1/stacks/\(stack.name)"])
    }

    @Sendable private func status(_ request: APIRequest) async throws -> Response {
        let components = await dependencies.status.components()
        let found = try await stored(for: request.principal)
        let counts = found?.counts
        return Reply.json(
            .object([
                .init("version", .string(dependencies.status.version)),
                .init("instance", .string(dependencies.settings.instance)),
                .init("time", .string(request.now.description)),
                .init("state", .string(Self.overall(components))),
                .init(
                    "components",
                    .array(
                        components.map {
                            .object([
                                .init("name", .string($0.name)), .init("state", .string($0.state.rawValue)),
                                .init("detail", .text($0.detail)),
                            ])
                        })),
                .init("ssh", Self.ssh(dependencies.status.ssh)),
                .init("apps", .integer(counts?.apps)), .init("processesUp", .integer(counts?.processesUp)),
                .init("processesWanted", .integer(counts?.processesWanted)),
                .init("activeBuilds", .integer(counts?.activeBuilds)),
                // Apps that do not run the config that they were given.
                .init("outdatedConfigs", found.map { .array($0.outdated.map(Shapes.config)) } ?? .null),
            ]))
    }

    private static func ssh(_ address: SSHAddress?) -> JSONValue {
        guard let address else { return .null }
        return .object([.init("url", .string(address.url)), .init("hostKey", .text(address.hostKey))])
    }

    /// Nil while the database is away: the status is what tells so.
    private func stored(for principal: Principal) async throws(PaaSError) -> (
        counts: PlatformCounts, outdated: [ConfigStatus]
    )? {
        do throws(PaaSError) {
            let store = dependencies.store
            return (try await store.counts(), try await store.outdatedConfigs(for: principal))
        } catch  where error.code == .unavailable {
            return nil
        }
    }

    private static func overall(_ components: [ComponentStatus]) -> String {
        if components.contains(where: { $0.state == .down }) { return ComponentStatus.State.down.rawValue }
        if components.contains(where: { $0.state == .degraded }) { return ComponentStatus.State.degraded.rawValue }
        return ComponentStatus.State.up.rawValue
    }

    @Sendable private func doctor(_ request: APIRequest) async throws -> Response {
        guard request.principal.mayAdministrate || request.principal.role == .operator else {
            throw PaaSError(.forbidden, "only an admin or an operator may look at the host; use such a token")
        }
        let checks = try await dependencies.status.doctor()
        return Reply.json(
            .array(
                checks.map {
                    .object([
                        .init("name", .string($0.name)), .init("state", .string($0.state.rawValue)),
                        .init("found", .string($0.found)), .init("fix", .text($0.fix)),
                    ])
                }))
    }
}
