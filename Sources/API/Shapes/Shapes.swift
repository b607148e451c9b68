import Domain

/// The JSON forms of what the API shows. Kept apart from the domain's types, so that an internal field is shown only when
/// someone writes it down here.
enum Shapes {
    typealias Member = JSONValue.Member

    static func time(_ time: Timestamp?) -> JSONValue { .text(time?.description) }

    /// - Parameter api: the API's own URL.
    static func app(_ app: App, api: String) -> JSONValue {
        .object([
            Member("id", .string(app.id.description)),
            Member("name", .string(app.name)),
            Member("space", .string(app.spaceName)),
            Member("stack", .string(app.stack)),
            Member("deployBranch", .text(app.deployBranch)),
            Member("buildpacks", .array(app.buildpacks.map { .string($0) })),
            Member("labels", .map(app.labels)),
            Member("currentRelease", .integer(app.currentRelease)),
            Member("webUrl", .null),
            Member("gitUrl", .string("\(api)/git/\(app.name).git")),
            Member("createdAt", time(app.createdAt)),
            Member("updatedAt", time(app.updatedAt)),
        ])
    }

    /// - Parameter waitsFor: how many builds of the host are before it in the queue.
    static func build(_ build: Build, app: App, waitsFor: Int?) -> JSONValue {
        .object([
            Member("id", .string(build.id.description)),
            Member("number", .integer(build.number)),
            Member("app", .string(app.name)),
            Member("state", .string(build.state.rawValue)),
            Member(
                "source",
                .object([
                    Member("kind", .string(build.source.kind.rawValue)),
                    Member("commit", .text(build.source.commit)),
                    Member("ref", .text(build.source.ref)),
                    Member("url", .text(build.source.url)),
                ])),
            Member("stack", .string(build.stack)),
            Member(
                "buildpacks",
                .array(
                    build.buildpacks.map { pack in
                        .object([
                            Member("name", .string(pack.name)), Member("url", .text(pack.url)),
                            Member("commit", .text(pack.commit)),
                        ])
                    })),
            Member("slug", .text(build.slug?.description)),
            Member("release", .integer(build.release)),
            Member("comparison", comparison(build)),
            Member("waitsFor", .integer(waitsFor)),
            Member("error", Problem.json(build.error)),
            Member("createdAt", time(build.createdAt)),
            Member("startedAt", time(build.startedAt)),
            Member("finishedAt", time(build.finishedAt)),
        ])
    }

    static func release(_ release: Release, app: App) -> JSONValue {
        .object([
            Member("id", .string(release.id.description)),
            Member("version", .integer(release.version)),
            Member("app", .string(app.name)),
            Member("state", .string(release.state.rawValue)),
            Member("slug", .string(release.slug.description)),
            Member("slugRemoved", .bool(release.slugRemoved)),
            Member("commit", .text(release.commit)),
            Member("processTypes", .map(release.processTypes)),
            Member("configVersion", .integer(release.configVersion)),
            Member("description", .string(release.description)),
            Member("createdBy", .string(release.createdBy)),
            Member("createdAt", time(release.createdAt)),
            Member("output", .text(release.output)),
        ])
    }

    /// Null for a build without a slug, and for one whose commit was not built before.
    private static func comparison(_ build: Build) -> JSONValue {
        guard let other = build.comparison else { return .null }
        return .object([
            Member("equal", .bool(other.slug == build.slug)),
            Member("build", .integer(other.build)),
            Member("release", .integer(other.release)),
            Member("slug", .string(other.slug.description)),
            Member("differences", .array(other.differences.map { .string($0) })),
        ])
    }

    /// One release in full: with what it runs once.
    static func release(_ release: Release, runs: [ReleaseRun], app: App) -> JSONValue {
        guard case .object(var members) = Self.release(release, app: app) else { return .null }
        members.append(Member("runs", .array(runs.map(run))))
        return .object(members)
    }

    private static func run(_ run: ReleaseRun) -> JSONValue {
        .object([
            Member("name", .string(run.name)),
            Member("kind", .string(run.kind.rawValue)),
            Member("state", .string(run.state.rawValue)),
            Member("command", .string(run.command)),
            Member("exitCode", run.exitCode.map { .integer(Int64($0)) } ?? .null),
            Member("reason", .text(run.reason)),
            Member("output", .text(run.output)),
            Member("startedAt", run.startedAt.map(time) ?? .null),
            Member("finishedAt", run.finishedAt.map(time) ?? .null),
        ])
    }

    static func configState(_ status: ConfigStatus) -> String {
        if status.isRunning { return "running" }
        return switch status.releaseState {
        case nil: "waiting"
        case .pending, .rolling: "rolling"
        case .failed: "failed"
        case .current: "running"
        case .superseded: "superseded"
        }
    }

    static func config(_ status: ConfigStatus) -> JSONValue {
        .object([
            Member("app", .string(status.app)), Member("state", .string(configState(status))),
            Member("wantedVersion", .integer(status.wantedVersion)),
            Member("runningVersion", .integer(status.runningVersion)), Member("release", .integer(status.release)),
        ])
    }

    static func formation(_ formation: Formation) -> JSONValue {
        .object(
            formation.sorted { $0.key < $1.key }.map { type, entry in
                Member(
                    type,
                    .object([
                        Member("quantity", .integer(entry.quantity)),
                        Member("memory", .string(ByteQuantity.text(entry.memoryBytes))),
                        Member("cpu", .number(Double(entry.cpuMillis) / 1000)),
                        Member("qos", .string(entry.qos.rawValue)),
                    ]))
            })
    }

    static func process(_ process: ProcessInstance, ports: [PortBinding]) -> JSONValue {
        let targets = ports.filter { $0.processType == process.type }.sorted { $0.name < $1.name }
        return .object([
            Member("id", .string(process.id.description)),
            Member("name", .string(process.name)),
            Member("type", .string(process.type)),
            Member("state", .string(process.state.rawValue)),
            Member("release", .integer(process.release)),
            Member("node", .text(process.node)),
            Member("address", .text(process.address4 ?? process.address6)),
            Member("ports", .object(targets.map { Member($0.name, .integer(Int64($0.targetPort))) })),
            Member("since", time(process.since)),
            Member("restarts", .integer(process.restarts)),
            Member("exitCode", .integer(process.exitCode.map { Int($0) })),
            Member("reason", .text(process.reason)),
        ])
    }

    static func port(_ port: PortBinding, publicAddress: String) -> JSONValue {
        .object([
            Member("name", .string(port.name)),
            Member("protocol", .string(port.protocol.rawValue)),
            Member("process", .string(port.processType)),
            Member("targetPort", .integer(Int64(port.targetPort))),
            Member("publicAddress", .string(publicAddress)),
            Member("publicPort", .integer(Int64(port.publicPort))),
            Member("host", .null),
            Member("path", .null),
            Member("affinity", .string(port.affinity.rawValue)),
            Member("proxyProtocol", .string(port.proxyProtocol.rawValue)),
            Member("drainSeconds", .integer(port.drainSeconds)),
            Member("plane", .string(port.plane.rawValue)),
            Member("state", .string(port.state.rawValue)),
            Member("reason", .text(port.reason)),
        ])
    }

    static func operation(_ operation: Operation) -> JSONValue {
        .object([
            Member("id", .string(operation.id.description)),
            Member("kind", .string(operation.kind.rawValue)),
            Member("target", .string(operation.target)),
            Member("state", .string(operation.state.rawValue)),
            Member("automatic", .bool(operation.automatic)),
            Member("progress", .number(operation.progress)),
            Member("error", Problem.json(operation.error)),
            Member("startedAt", time(operation.startedAt)),
            Member("finishedAt", time(operation.finishedAt)),
        ])
    }

    static func event(_ event: Event) -> JSONValue {
        .object([
            Member("id", .integer(event.id)),
            Member("time", time(event.time)),
            Member("kind", .string(event.kind)),
            Member("app", .text(event.app)),
            Member("space", .text(event.space)),
            Member("actor", .text(event.actor)),
            Member("data", .map(event.data)),
        ])
    }

    static func logLine(_ line: LogLine) -> JSONValue {
        .object([
            Member("time", time(line.time)),
            Member("source", .string(line.source.rawValue)),
            Member("process", .string(line.process)),
            Member("text", .string(line.text)),
            Member("partial", .bool(line.partial)),
        ])
    }

    static func space(_ space: Space) -> JSONValue {
        .object([
            Member("id", .string(space.id.description)),
            Member("name", .string(space.name)),
            Member("createdAt", time(space.createdAt)),
        ])
    }

    /// - Parameter secret: only in the reply that makes the token.
    static func token(_ token: AccessToken, secret: String? = nil) -> JSONValue {
        var members = [
            Member("id", .string(token.id.description)),
            Member("role", .string(token.role.rawValue)),
            Member("space", .text(token.spaceName)),
            Member("createdAt", time(token.createdAt)),
            Member("expiresAt", time(token.expiresAt)),
            Member("revokedAt", time(token.revokedAt)),
        ]
        if let secret { members.append(Member("token", .string(secret))) }
        return .object(members)
    }

    static func key(_ key: AccessKey) -> JSONValue {
        .object([
            Member("id", .string(key.id.description)),
            Member("name", .string(key.name)),
            Member("type", .string(key.type)),
            Member("fingerprint", .string(KeyFingerprint.text(key.fingerprint))),
            Member("token", .string(key.token.description)),
            Member("createdAt", time(key.createdAt)),
        ])
    }

    static func stack(_ stack: StackInfo, state: StackInfo.State, error: ErrorReport?) -> JSONValue {
        .object([
            Member("name", .string(stack.name)),
            Member("state", .string(state.rawValue)),
            Member("runImageBytes", .integer(stack.runImageBytes.map { Int($0) })),
            Member("buildImageBytes", .integer(stack.buildImageBytes.map { Int($0) })),
            Member("digest", .text(stack.digest)),
            Member("error", Problem.json(error)),
        ])
    }
}
