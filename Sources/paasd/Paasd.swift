import API
import Builder
import Containers
import Domain
import Git
import Glibc
import Logging
import OS
import Postgres
import Scheduler
import Store
import Telemetry

/// The control plane: wires the parts and runs them until one ends. It may be killed at any moment.
struct Paasd {
    static let version = "0.1.0"

    let settings: Settings
    let logger: Logger

    /// - Throws: whatever made a part end.
    func run() async throws {
        // Held for the life of the process: a second paasd on the same data directory must not even begin.
        let lock = try DirectoryLock(path: settings.dataDirectory + "/lock/paasd.lock")
        defer { withExtendedLifetime(lock) {} }
        let bootID = try Host.bootID(file: settings.bootIDFile)
        let store = try openStore()
        let epoch = try await beginEpoch(store)
        try await store.ensureAdminToken(secretHash: try adminTokenHash(), now: .now())

        let faults = FaultSwitch(settings.faultPoint)
        let engine = LocalEngine(socket: settings.engineSocket)
        let repositories = GitClient(socket: settings.gitSocket)
        let lines = PlatformLines(directory: settings.dataDirectory + "/platform-logs")
        let hub = RoutingHub(store: store, bootID: bootID, logger: logger)
        let reconciler = Reconciler(
            store: store, engine: engine, publisher: hub, log: lines,
            cleanup: Cleanup(repositories: repositories, buildEngine: engine, lines: lines, epoch: epoch),
            faults: faults,
            epoch: epoch, bootID: bootID, settings: SchedulerSettings(settings), logger: logger)
        hub.attach(reconciler)
        let buildLogs = FileBuildLog(directory: settings.dataDirectory + "/build-logs")
        let builds = BuildCoordinator(
            BuildParts(
                store: store, engine: engine, buildEngine: engine, sources: repositories, scheduler: reconciler,
                faults: faults, log: buildLogs,
                ports: { app throws(PaaSError) in try await store.ports(app) },
                release: { app, version throws(PaaSError) in try await store.release(app, version: version) },
                settings: settings, environment: Self.proxyEnvironment(), epoch: epoch, now: { Timestamp.now() },
                logger: logger))
        let tickets = PushTickets()
        let pushes = PushSocket(
            path: settings.pushSocket, service: PushService(builds: builds, store: store, logger: logger),
            tickets: tickets, builds: store, logger: logger)
        let server = try APIServer(
            APIDependencies(
                store: store, engine: engine, buildEngine: engine, builds: builds, git: repositories,
                repositories: repositories, scheduler: ChangeNotice(reconciler: reconciler, hub: hub), routing: hub,
                logs: MergedLogReader([EngineLogLines(engine: engine), lines]),
                status: PlatformStatus(store: store, engine: engine, repositories: repositories, settings: settings),
                tickets: tickets, settings: settings, epoch: epoch, faults: faults), logger: logger)

        logger.info("paasd starts", metadata: ["version": "\(Self.version)", "epoch": "\(epoch)"])
        try pushes.start()
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await reconciler.run() }
            group.addTask { try await builds.run() }
            group.addTask { try await server.run() }
            group.addTask {
                if await store.waitUntilSuperseded() {
                    throw PaaSError(.stale, "another paasd is in charge of this database now")
                }
            }
            defer { group.cancelAll() }
            try await group.next()
        }
    }

    private func openStore() throws -> PostgresStore {
        let url = settings.databaseURL ?? "postgresql:///paas?host=\(settings.postgresSocketDirectory)&user=paas"
        guard let key = try Files.read(settings.dataDirectory + "/secret.key", limit: 1024) else {
            throw PaaSError(
                .invalid, "\(settings.dataDirectory)/secret.key is missing; run bin/up, or put your backup of it back")
        }
        return try PostgresStore(
            configuration: PostgresConfiguration(connection: url), key: EncryptionKey(key),
            portRange: settings.portRange, capacity: try Capacity(settings))
    }

    /// Waits for the database, and for an earlier paasd that is still going.
    private func beginEpoch(_ store: PostgresStore) async throws -> Int64 {
        var told = false
        while true {
            do throws(PaaSError) {
                return try await store.beginEpoch().epoch
            } catch {
                guard error.code == .unavailable else { throw error }
                if !told { logger.warning("waiting for the database", metadata: ["error": "\(ErrorChain(error))"]) }
                told = true
                try await Task.sleep(for: .milliseconds(200))
            }
        }
    }

    private func adminTokenHash() throws -> [UInt8] {
        let path = settings.dataDirectory + "/admin-token"
        guard let token = try Files.readText(path, limit: 1024), token.utf8.count >= 32 else {
            throw PaaSError(.invalid, "\(path) is missing; run bin/up, which makes it")
        }
        return SecretText.hash(token)
    }

    private static func proxyEnvironment() -> [String: String] {
        let own = ProgramEnvironment.variables()
        return own.filter { BuildParts.proxyVariables.contains($0.key) && !$0.value.isEmpty }
    }
}
