import API
import Domain
import Synchronization

/// A control store in memory, with just the rules that the API's behaviour depends on.
final class FakeStore: ControlStore {
    struct State {
        var principals: [[UInt8]: Principal] = [:]
        var expiries: [[UInt8]: Timestamp] = [:]
        var apps: [String: App] = [:]
        var vars: ConfigVars = [:]
        var configVersion = 1
        var entries: Formation = ["web": FormationEntry(quantity: 1)]
        var generation: Int64 = 1
        var ports: [PortBinding] = []
        var builds: [Build] = []
        var operations: [OperationID: Operation] = [:]
        var events: [Event] = []
        var processes: [ProcessInstance] = []
        var rollbacks: [Int?] = []
        var keys: [AccessKey] = []
        var deletions: [Timestamp?] = []
        var outdated: ConfigStatus?
        var patches: [AppPatch] = []
        var promotions: [String] = []
        var slug: SlugInfo?
        var bill: [UInt8]?
        var answers: [IdempotencyKey: IdempotentAnswer] = [:]
        var isAway = false
        /// Away, but for the numbers.
        var hasNoConfigs = false
    }
    let state = Mutex(State())
    static let time = Timestamp(microseconds: 1_800_000_000_000_000)

    private func check() throws(PaaSError) {
        if state.withLock({ $0.isAway }) { throw PaaSError(.unavailable, "the database does not answer") }
    }
    private func operation(_ kind: Operation.Kind, _ target: String) -> Operation {
        let operation = Operation(id: .random(), kind: kind, app: nil, target: target, startedAt: Self.time)
        state.withLock { $0.operations[operation.id] = operation }
        return operation
    }
    func addOperation(_ kind: Operation.Kind, _ target: String) -> Operation { operation(kind, target) }

    func principal(secretHash: [UInt8], now: Timestamp) async throws(PaaSError) -> Principal? {
        try check()
        return state.withLock { state in
            if let end = state.expiries[secretHash], end <= now { return nil }
            return state.principals[secretHash]
        }
    }
    func ensureAdminToken(secretHash: [UInt8], now: Timestamp) async throws(PaaSError) {}
    func createToken(
        role: Role, space: String?, expiresAt: Timestamp?, secretHash: [UInt8], actor: Principal, now: Timestamp
    ) async throws(PaaSError) -> AccessToken {
        let token = AccessToken(
            id: .random(), role: role, space: nil, spaceName: space, createdAt: now, expiresAt: expiresAt)
        state.withLock {
            $0.principals[secretHash] = Principal(token: token.id, name: role.rawValue, role: role, space: nil)
        }
        return token
    }
    func tokens() async throws(PaaSError) -> [AccessToken] { [] }
    func revokeToken(_ id: TokenID, actor: Principal, now: Timestamp) async throws(PaaSError) {}
    func idempotentAnswer(_ key: IdempotencyKey, now: Timestamp) async throws(PaaSError) -> IdempotentAnswer? {
        state.withLock { $0.answers[key] }
    }
    func keepIdempotentAnswer(_ answer: IdempotentAnswer, _ key: IdempotencyKey, now: Timestamp)
        async throws(PaaSError)
    { state.withLock { $0.answers[key] = answer } }
    func keys(for principal: Principal) async throws(PaaSError) -> [AccessKey] {
        state.withLock { $0.keys.filter { $0.token == principal.token || principal.mayAdministrate } }
    }
    func addKey(_ key: AccessKey, line: String, actor: Principal, now: Timestamp) async throws(PaaSError) -> AccessKey {
        let added = state.withLock { state in
            let isNew = !state.keys.contains { $0.fingerprint == key.fingerprint }
            if isNew { state.keys.append(key) }
            return isNew
        }
        guard added else { throw PaaSError(.conflict, "you have added this key already; see: paasctl keys") }
        return key
    }
    func removeKey(_ id: KeyID, actor: Principal, now: Timestamp) async throws(PaaSError) {
        let known = try await keys(for: actor).contains { $0.id == id }
        guard known else { throw PaaSError(.notFound, "there is no key \(id); see: paasctl keys") }
        state.withLock { $0.keys.removeAll { $0.id == id } }
    }
    func keyHolder(fingerprint: [UInt8], now: Timestamp) async throws(PaaSError) -> KeyHolder? { nil }
    func keyHolder(_ id: KeyID, now: Timestamp) async throws(PaaSError) -> KeyHolder? { nil }
    func spaces(for principal: Principal) async throws(PaaSError) -> [Space] { [] }
    func putSpace(name: String, actor: Principal, now: Timestamp) async throws(PaaSError) -> (
        space: Space, created: Bool
    ) { (Space(id: .random(), name: name, networkIndex: 0, createdAt: now), true) }

    func apps(for principal: Principal) async throws(PaaSError) -> [App] {
        try check()
        return state.withLock { $0.apps.values.sorted { $0.name < $1.name } }
    }
    func app(named name: String, for principal: Principal) async throws(PaaSError) -> App {
        try check()
        guard let app = state.withLock({ $0.apps[name] }) else { throw PaaSError(.notFound, "there is no app \(name)") }
        return app
    }
    func putApp(_ request: AppRequest, actor: Principal, now: Timestamp) async throws(PaaSError) -> (
        app: App, created: Bool
    ) {
        if request.name == "taken" { throw PaaSError(.conflict, "the name taken is in use") }
        return state.withLock { state in
            if let app = state.apps[request.name] { return (app, false) }
            let app = App(
                id: .random(), name: request.name, space: .random(), spaceName: "default", networkIndex: 3,
                uidSlot: 4242, stack: "debian-13", labels: request.labels, createdAt: now, updatedAt: now)
            state.apps[request.name] = app
            return (app, true)
        }
    }
    func patchApp(_ app: AppID, _ patch: AppPatch, actor: Principal, now: Timestamp) async throws(PaaSError) -> App {
        state.withLock { $0.patches.append(patch) }
        throw PaaSError(.conflict, "not now")
    }
    func deleteApp(_ app: AppID, stopBy: Timestamp?, actor: Principal, now: Timestamp) async throws(PaaSError)
        -> Operation
    {
        state.withLock { $0.deletions.append(stopBy) }
        return operation(.deleteApp, "/api/v1/apps/x")
    }

    func config(_ app: AppID) async throws(PaaSError) -> (vars: ConfigVars, version: Int) {
        state.withLock { ($0.vars, $0.configVersion) }
    }
    func patchConfig(_ app: AppID, changes: [String: ConfigValue?], ifMatch: Int?, actor: Principal, now: Timestamp)
        async throws(PaaSError) -> ConfigChange
    {
        let present = state.withLock { $0.configVersion }
        guard ifMatch == nil || ifMatch == present else {
            throw PaaSError(.preconditionFailed, "config is at version \(present) now")
        }
        let (vars, version) = state.withLock { state in
            for (key, value) in changes { state.vars[key] = value }
            state.configVersion += 1
            return (state.vars, state.configVersion)
        }
        return ConfigChange(
            vars: vars, version: version, release: 2, operation: operation(.config, "/api/v1/apps/x/releases/2"))
    }
    func formation(_ app: AppID) async throws(PaaSError) -> (entries: Formation, generation: Int64) {
        state.withLock { ($0.entries, $0.generation) }
    }
    func patchFormation(
        _ app: AppID, changes: [String: FormationChange], ifMatch: Int64?, actor: Principal, now: Timestamp
    ) async throws(PaaSError) -> (entries: Formation, generation: Int64, operation: Operation) {
        let present = state.withLock { $0.generation }
        guard ifMatch == nil || ifMatch == present else {
            throw PaaSError(.preconditionFailed, "the formation is at \(present) now")
        }
        let (entries, generation) = state.withLock { state in
            for (type, change) in changes {
                var entry = state.entries[type] ?? FormationEntry(quantity: 0)
                entry.quantity = change.quantity ?? entry.quantity
                entry.memoryBytes = change.memoryBytes ?? entry.memoryBytes
                entry.cpuMillis = change.cpuMillis ?? entry.cpuMillis
                state.entries[type] = entry
            }
            state.generation += 1
            return (state.entries, state.generation)
        }
        return (entries, generation, operation(.scale, "/api/v1/apps/x/formation"))
    }

    static func release(_ app: AppID, _ version: Int) -> Release {
        Release(
            id: .random(), version: version, app: app, state: .current,
            slug: SlugDigest(hex: String(repeating: "a", count: 64)) ?? unreachableSlug(), stack: "debian-13",
            processTypes: ["web": "./run"], configVersion: 1, description: "Deploy", createdBy: "admin",
            createdAt: time)
    }
    static func unreachableSlug() -> SlugDigest { fatalError("64 hex digits are a digest") }
    func releases(_ app: AppID, limit: Int, before: Int?) async throws(PaaSError) -> [Release] {
        Array((1...5).reversed().filter { $0 < before ?? 99 }.prefix(limit).map { Self.release(app, $0) })
    }
    func release(_ app: AppID, version: Int) async throws(PaaSError) -> Release { Self.release(app, version) }
    func releaseRuns(_ app: AppID, version: Int) async throws(PaaSError) -> [ReleaseRun] {
        [
            ReleaseRun(
                kind: .release, version: version, state: .failed, command: "./migrate", exitCode: 3,
                reason: "release.\(version) exited with status 3", output: "no such table")
        ]
    }
    func rollback(_ app: AppID, to version: Int?, actor: Principal, now: Timestamp) async throws(PaaSError) -> (
        release: Release, operation: Operation
    ) {
        state.withLock { $0.rollbacks.append(version) }
        return (Self.release(app, 6), operation(.release, "/api/v1/apps/x/releases/6"))
    }
    func release(_ app: AppID, slug: SlugDigest, actor: Principal, now: Timestamp) async throws(PaaSError) -> (
        release: Release, operation: Operation
    ) { (Self.release(app, 6), operation(.release, "/api/v1/apps/x/releases/6")) }

    func promote(_ app: AppID, from source: String, actor: Principal, now: Timestamp) async throws(PaaSError) -> (
        release: Release, operation: Operation
    ) {
        state.withLock { $0.promotions.append(source) }
        return (Self.release(app, 6), operation(.release, "/api/v1/apps/x/releases/6"))
    }
    func slugs(_ app: AppID, limit: Int) async throws(PaaSError) -> [SlugInfo] {
        state.withLock { $0.slug.map { [$0] } ?? [] }
    }
    func slug(_ digest: SlugDigest, for principal: Principal) async throws(PaaSError) -> SlugInfo {
        guard let slug = state.withLock({ $0.slug }), slug.digest == digest else {
            throw PaaSError(.notFound, "no such slug")
        }
        return slug
    }
    func billOfMaterials(_ digest: SlugDigest, for principal: Principal) async throws(PaaSError) -> [UInt8]? {
        state.withLock { $0.bill }
    }
    func provenance(_ build: BuildID) async throws(PaaSError) -> Provenance? { state.withLock { $0.slug?.provenance } }

    func processes(_ app: AppID) async throws(PaaSError) -> [ProcessInstance] { state.withLock { $0.processes } }
    func replaceProcesses(_ app: AppID, matching name: String?, actor: Principal, now: Timestamp)
        async throws(PaaSError) -> Operation
    { operation(.replaceProcess, "/api/v1/apps/x/processes/\(name ?? "")") }

    func ports(_ app: AppID) async throws(PaaSError) -> [PortBinding] { state.withLock { $0.ports } }
    func putPort(_ app: AppID, _ request: PortRequest, range: ClosedRange<UInt16>, actor: Principal, now: Timestamp)
        async throws(PaaSError) -> (port: PortBinding, created: Bool)
    {
        if request.name == "full" {
            throw PaaSError(.exhausted, "all public ports from 20000 to 20001 are in use; remove a port")
        }
        let port = PortBinding(
            id: .random(), app: app, name: request.name, protocol: request.protocol, processType: "web",
            targetPort: request.targetPort ?? 5000, publicPort: request.publicPort ?? range.lowerBound, createdAt: now)
        return state.withLock { state in
            let created = !state.ports.contains { $0.name == port.name }
            if created { state.ports.append(port) }
            return (port, created)
        }
    }
    func deletePort(_ app: AppID, name: String, actor: Principal, now: Timestamp) async throws(PaaSError) {
        throw PaaSError(.notFound, "there is no port \(name)")
    }
    func builds(_ app: AppID, limit: Int, before: Int?) async throws(PaaSError) -> [Build] {
        state.withLock { $0.builds }
    }
    func build(_ app: AppID, _ numberOrID: String) async throws(PaaSError) -> Build {
        guard
            let build = state.withLock({ $0.builds.first { "\($0.number)" == numberOrID || "\($0.id)" == numberOrID } })
        else { throw PaaSError(.notFound, "there is no build \(numberOrID)") }
        return build
    }
    func operation(_ id: OperationID, for principal: Principal) async throws(PaaSError) -> Operation {
        guard let operation = state.withLock({ $0.operations[id] }) else {
            throw PaaSError(.notFound, "there is no operation \(id)")
        }
        return operation
    }
    func events(after: Int64, limit: Int, app: String?, for principal: Principal) async throws(PaaSError) -> [Event] {
        try check()
        return state.withLock {
            Array($0.events.filter { $0.id > after && (app == nil || $0.app == app) }.prefix(limit))
        }
    }
    func configStatus(_ app: AppID) async throws(PaaSError) -> ConfigStatus {
        state.withLock { state in
            let version = state.configVersion
            return state.outdated
                ?? ConfigStatus(
                    app: "x", wantedVersion: version, runningVersion: version, release: 1, releaseState: .current)
        }
    }
    func outdatedConfigs(for principal: Principal) async throws(PaaSError) -> [ConfigStatus] {
        if state.withLock({ $0.hasNoConfigs }) { throw PaaSError(.unavailable, "the database does not answer") }
        return state.withLock { $0.outdated.map { [$0] } ?? [] }
    }
    /// Now and then, whether anything happened or not.
    func eventHints() -> AsyncStream<Void> {
        AsyncStream { do { try await Task.sleep(for: .milliseconds(100)) } catch { return nil } }
    }
    func lastEventID() async throws(PaaSError) -> Int64 { state.withLock { $0.events.last?.id ?? 0 } }
    func ping() async throws(PaaSError) { try check() }
    func counts() async throws(PaaSError) -> PlatformCounts {
        try check()
        return PlatformCounts(
            apps: 1, processesUp: 1, processesWanted: 1, activeBuilds: 0, processStates: ["up": 1],
            buildStates: ["failed": 2])
    }
    func databaseLoad() -> DatabaseLoad { DatabaseLoad(connections: 4, idle: 3, waiting: 0) }
}
