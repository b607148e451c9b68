import Domain
import FoundationEssentials
import Postgres
import Store
import Synchronization
import Testing

/// A store on a database of its own, and the steps that tests share.
struct Harness: Sendable {
    static let range: ClosedRange<UInt16> = 20000...20031
    static let keyBytes = [UInt8](repeating: 7, count: 32)
    static let stack = "debian-13"
    static let capacity = Capacity(apps: 100, spaces: 20)

    let store: PostgresStore
    let url: String
    let cluster: TestCluster
    let epoch: Int64
    private let clock = Clock()

    private final class Clock: Sendable {
        let microseconds = Mutex<Int64>(1_795_000_000_000_000)
    }

    static func run(
        cluster: TestCluster? = nil, capacity: Capacity = capacity, _ body: (Harness) async throws -> Void
    ) async throws {
        let cluster = try cluster ?? TestCluster.shared()
        let url = try cluster.createDatabase()
        let store = try open(url, capacity: capacity)
        defer { store.close() }
        let epoch = try await store.beginEpoch().epoch
        try await body(Harness(store: store, url: url, cluster: cluster, epoch: epoch))
    }

    static func open(
        _ url: String, key: [UInt8] = keyBytes, poolSize: Int = 4, capacity: Capacity = capacity
    ) throws -> PostgresStore {
        try PostgresStore(
            configuration: PostgresConfiguration(connection: url, poolSize: poolSize, acquireTimeoutSeconds: 20),
            key: EncryptionKey(key), portRange: range, capacity: capacity)
    }

    /// A time that grows with each call.
    func now() -> Timestamp {
        Timestamp(
            microseconds: clock.microseconds.withLock { value in
                value += 1_000_000
                return value
            })
    }

    let admin = Principal(token: .random(), name: "admin", role: .admin, space: nil)

    func scoped(_ space: String, _ role: Role = .developer) async throws -> Principal {
        let made = try await store.putSpace(name: space, actor: admin, now: now()).space
        return Principal(token: .random(), name: "\(role.rawValue):1", role: role, space: made.id)
    }

    func app(_ name: String, noPorts: Bool = false) async throws -> App {
        try await store.putApp(AppRequest(name: name, noPorts: noPorts), actor: admin, now: now()).app
    }

    static func slug(_ number: Int, _ types: [String: String] = ["web": "./server"]) throws -> Slug {
        let text = String(number, radix: 16)
        let digest = try #require(SlugDigest(hex: String(repeating: "0", count: 64 - text.count) + text))
        return Slug(
            digest: digest, stack: stack, sizeBytes: 10, imageBytes: 5, processTypes: types,
            createdAt: Timestamp(microseconds: 1_795_000_000_000_000))
    }

    static func evidence(_ build: Build, bill: String? = nil, stack digest: String = "sha256:s") -> SlugEvidence {
        let time = Timestamp(microseconds: 1_795_000_000_000_000)
        return SlugEvidence(
            provenance: Provenance(
                builder: "1.0", build: build.id, number: build.number,
                source: .init(kind: build.source.kind, commit: build.source.commit), stack: stack,
                stackDigest: digest, buildpacks: [.init(name: "python")], artifacts: [],
                limits: .init(seconds: 1, memoryBytes: 2, diskBytes: 3, slugBytes: 4, sourceBytes: 5),
                isOffline: false, mayUseCache: true, startedAt: time, finishedAt: time),
            billOfMaterials: bill.map { Array($0.utf8) })
    }

    func openBuild(
        _ app: App, kind: Build.Source.Kind = .push, options: Build.Options = Build.Options(),
        commit: String = String(repeating: "a", count: 40)
    ) async throws -> Build {
        try await store.createBuild(
            BuildRequest(
                id: .random(), app: app.id,
                source: Build.Source(
                    kind: kind, commit: commit, ref: "refs/heads/main",
                    previousCommit: String(repeating: "0", count: 40)),
                options: options, createdBy: "admin"), now: now())
    }

    /// A build that succeeded, with its release still pending.
    func push(
        _ app: App, slug number: Int = 1, _ types: [String: String] = ["web": "./server"],
        options: Build.Options = Build.Options(), manifest: AppManifest? = nil,
        commit: String = String(repeating: "a", count: 40)
    ) async throws -> (build: Build, release: Release?) {
        let build = try await openBuild(app, options: options, commit: commit)
        try await store.startBuild(build.id, now: now())
        var slug = try Self.slug(number, types)
        slug.manifest = manifest
        _ = try await store.recordSlug(slug, evidence: Self.evidence(build, bill: "bill"), build: build.id)
        let release = try await store.completeBuild(build.id, slug: slug, portRange: Self.range, now: now())
        return (try await store.build(build.id), release)
    }

    /// The same, rolled out.
    @discardableResult
    func deploy(_ app: App, slug number: Int = 1, _ types: [String: String] = ["web": "./server"]) async throws
        -> Release
    {
        let release = try #require(try await push(app, slug: number, types).release)
        return try await rollOut(app, release.version)
    }

    @discardableResult
    func rollOut(_ app: App, _ version: Int) async throws -> Release {
        try await store.markRolling(app.id, version: version, epoch: epoch, now: now())
        try await store.markCurrent(app.id, version: version, epoch: epoch, now: now())
        return try await store.release(app.id, version: version)
    }

    func plan(_ app: App, _ type: String = "web", _ index: Int = 1, release: Int = 1) async throws -> ProcessInstance {
        let instance = ProcessInstance(
            id: .random(), app: app.id, type: type, index: index, release: release, generation: 1, epoch: epoch,
            state: .planned, createdAt: now(), since: now())
        try await store.insertPlanned([instance], epoch: epoch)
        return instance
    }

    func seen(_ instance: ProcessInstance, address: String? = "10.0.0.5") -> ContainerObservation {
        ContainerObservation(
            id: instance.id, app: instance.app, name: instance.name, isBuild: false, epoch: epoch, generation: 1,
            state: .running, node: "local", bootID: "boot-1", pid: 42, pidStartTime: 4242, address4: address,
            address6: "fd00::5", ready: true)
    }

    func up(_ app: App, _ type: String = "web", _ index: Int = 1, release: Int = 1, address: String = "10.0.0.5")
        async throws -> (instance: ProcessInstance, revision: Int64)
    {
        let instance = try await plan(app, type, index, release: release)
        let seen = seen(instance, address: address)
        try await store.markStarting(instance.id, seen, epoch: epoch, now: now())
        return (instance, try await store.markUp(instance.id, seen, epoch: epoch, now: now()))
    }

    func operation(_ id: OperationID?) async throws -> Domain.Operation {
        try await store.operation(try #require(id), for: admin)
    }

    func kinds(_ app: String? = nil) async throws -> [String] {
        try await store.events(after: 0, limit: 1000, app: app, for: admin).map(\.kind)
    }

    func set(_ app: App, _ vars: [String: String?]) async throws -> ConfigChange {
        var changes: [String: ConfigValue?] = [:]
        for (key, value) in vars { changes.updateValue(try value.map { try ConfigValue($0) }, forKey: key) }
        return try await store.patchConfig(app.id, changes: changes, ifMatch: nil, actor: admin, now: now())
    }

    func scale(_ app: App, _ counts: [String: Int]) async throws -> (
        entries: Formation, generation: Int64, operation: Domain.Operation
    ) {
        try await store.patchFormation(
            app.id, changes: counts.mapValues { FormationChange(quantity: $0) }, ifMatch: nil, actor: admin, now: now())
    }
}

/// The error that `body` throws, which must have this code.
@discardableResult
func refused<T>(
    _ code: PaaSError.Code, sourceLocation: SourceLocation = #_sourceLocation, _ body: () async throws -> T
) async throws -> PaaSError {
    let error = await #expect(throws: PaaSError.self, sourceLocation: sourceLocation) { _ = try await body() }
    let known = try #require(error, sourceLocation: sourceLocation)
    #expect(known.code == code, "\(ErrorChain(known))", sourceLocation: sourceLocation)
    return known
}
