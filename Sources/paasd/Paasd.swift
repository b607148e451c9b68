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

    /// - Throws: whatever made a part end. The others may still be at it: the process is to end.
    func run() async throws {
        // Held for the life of the process: a second paasd on the same data directory must not even begin.
        let lock = try DirectoryLock(path: settings.dataDirectory + "/lock/paasd.lock")
        defer { withExtendedLifetime(lock) {} }
        let store = try openStore()
        // Answers at once, if only that the database is away.
        let server = try APIServer(settings: settings, logger: logger)
        try await untilOneEnds([
            { try await server.run() },
            { try await work(store, server) },
        ])
    }

    private func work(_ store: PostgresStore, _ server: APIServer) async throws {
        let bootID = try Host.bootID(file: settings.bootIDFile)
        let adminToken = try adminTokenHash()
        let epoch = try await begin(store, adminToken: adminToken)

        let faults = FaultSwitch(settings.faultPoint)
        let engine = LocalEngine(socket: settings.engineSocket, platformID: settings.instance)
        let repositories = GitClient(socket: settings.gitSocket)
        let lines = PlatformLines(directory: settings.dataDirectory + "/platform-logs")
        let buildLogs = FileBuildLog(directory: settings.dataDirectory + "/build-logs")
        let hub = RoutingHub(
            store: store, bootID: bootID, lines: RouterLines(store: store, log: lines), logger: logger)
        let slugLock = SlugLock()
        let reconciler = Reconciler(
            store: store, engine: engine, publisher: hub, log: lines,
            cleanup: Cleanup(
                store: store, repositories: repositories, buildEngine: engine, buildLogs: buildLogs, slugLock: slugLock,
                lines: lines, epoch: epoch),
            faults: faults,
            epoch: epoch, bootID: bootID, settings: SchedulerSettings(settings), logger: logger)
        hub.attach(reconciler)
        let buildParts = BuildParts(
            store: store, engine: engine, buildEngine: engine, sources: repositories, scheduler: reconciler,
            faults: faults, log: buildLogs,
            uploads: FileUploads(directory: settings.uploadsDirectory, limitBytes: settings.checkoutLimitBytes),
            ports: { app throws(PaaSError) in try await store.ports(app) },
            release: { app, version throws(PaaSError) in try await store.release(app, version: version) },
            runs: { app, version throws(PaaSError) in try await store.releaseRuns(app, version: version) },
            formation: { app throws(PaaSError) in try await store.formation(app).entries },
            settings: settings, environment: Self.proxyEnvironment(settings), version: Self.version, epoch: epoch,
            now: { Timestamp.now() }, slugLock: slugLock, logger: logger)
        let builds = BuildCoordinator(buildParts)
        let retention = RetentionCollector(parts: buildParts, store: store)
        let tickets = PushTickets()
        let pushes = PushSocket(
            path: settings.pushSocket, service: PushService(builds: builds, store: store, logger: logger),
            tickets: tickets, logger: logger)
        let dependencies = APIDependencies(
            store: store, engine: engine, buildEngine: engine, builds: builds, git: repositories,
            repositories: repositories, scheduler: ChangeNotice(reconciler: reconciler, hub: hub), routing: hub,
            logs: MergedLogReader([EngineLogLines(engine: engine), lines]),
            status: PlatformStatus(
                store: store, engine: engine, repositories: repositories, hub: hub,
                sshStatus: SSHStatus(settings: settings)),
            tickets: tickets, buildpacks: BuildpackFolder.read(settings.prefix + "/buildpacks", logger: logger),
            settings: settings, epoch: epoch, adminTokenHash: adminToken, faults: faults,
            retention: retention)
        server.begin(dependencies)
        let ssh = SSHSocket(settings: settings, store: store, access: GitAccess(dependencies), logger: logger)

        logger.info("paasd starts", metadata: ["version": "\(Self.version)", "epoch": "\(epoch)"])
        try pushes.start()
        try ssh.start()
        try await untilOneEnds([
            { try await reconciler.run() },
            { try await builds.run() },
            {
                await retention.run()
                // Only a cancellation ends it.
                try await Task.sleep(for: .seconds(3600))
            },
            {
                if await store.waitUntilSuperseded() {
                    throw PaaSError(.stale, "another paasd is in charge of this database now")
                }
            },
        ])
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

    /// Takes charge: of this data directory's database only, in an epoch that is newer than any before.
    private func begin(_ store: PostgresStore, adminToken: [UInt8]) async throws -> Int64 {
        let record = DataDirectoryRecord(directory: settings.dataDirectory + "/lock")
        let known = try record.read()
        let term = try await whileAway { () async throws(PaaSError) in
            do throws(PaaSError) {
                return try await store.beginEpoch(atLeast: known.epoch, platformID: known.platformID)
            } catch { throw record.explained(error, platformID: known.platformID) }
        }
        if term.wasBehind {
            logger.warning(
                "the database is older than what ran on this data directory: it was restored, or is another one",
                metadata: ["epoch": "\(term.epoch)"])
        }
        try record.write(platformID: term.platformID, epoch: term.epoch)
        let instance = settings.instance
        try await whileAway { () async throws(PaaSError) in
            try await store.ensureAdminToken(secretHash: adminToken, now: .now())
            try await store.forgetLocalRouters(except: "local-\(instance)", epoch: term.epoch, now: .now())
        }
        return term.epoch
    }

    /// Calls `work` until the database is there.
    private func whileAway<Value: Sendable>(
        _ work: @Sendable () async throws(PaaSError) -> Value
    ) async throws -> Value {
        var pause = Duration.milliseconds(50)
        while true {
            do throws(PaaSError) {
                return try await work()
            } catch {
                guard error.code == .unavailable else { throw error }
                if pause == .milliseconds(50) {
                    logger.warning("waiting for the database", metadata: ["error": "\(ErrorChain(error))"])
                }
            }
            try await Task.sleep(for: pause)
            pause = min(pause * 2, .seconds(1))
        }
    }

    private func adminTokenHash() throws -> [UInt8] {
        let path = settings.dataDirectory + "/admin-token"
        guard let token = try Files.readText(path, limit: 1024), token.utf8.count >= 32 else {
            throw PaaSError(.invalid, "\(path) is missing; run bin/up, which makes it")
        }
        return SecretText.hash(token)
    }

    /// How builds reach the outside: as the settings say, else as this program's own environment does.
    private static func proxyEnvironment(_ settings: Settings) -> [String: String] {
        let own = ProgramEnvironment.variables()
        return own.filter { BuildParts.proxyVariables.contains($0.key) && !$0.value.isEmpty }
            .merging(settings.reach.variables) { $1 }
    }
}
