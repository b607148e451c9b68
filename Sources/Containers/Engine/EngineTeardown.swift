import Domain
import Glibc
import Logging
import OS

/// Ends everything that the engine runs or made on the host, from what is found there: for `bin/down`, while no engine
/// runs. Logs, slugs, stacks and caches stay.
public struct EngineTeardown: Sendable {
    public enum Mode: Sendable {
        /// SIGTERM, then SIGKILL after the grace.
        case graceful(seconds: Double)
        /// For tests: what a power cut leaves, which is nothing that was not on disk. No process gets to say a word.
        case powerCut
    }

    private let settings: Settings
    private let logger: Logger
    private let cgroups: HostCgroups

    public init(settings: Settings, logger: Logger) {
        self.settings = settings
        self.logger = logger
        cgroups = HostCgroups(parent: settings.hostName)
    }

    /// - Parameters:
    ///   - network: `NetworkService.teardown`.
    ///   - images: `ImageService.teardown`.
    public func run(_ mode: Mode, network: () throws -> Void, images: () throws -> Void) throws(PaaSError) {
        let lock = try EngineLock.take(settings)
        defer { lock.release() }
        do {
            var ids = try cgroups.known()
            for name in try Files.list(ContainerPaths.root(settings)) {
                if let id = InstanceID(name) { ids.insert(id) }
            }
            if case .graceful(let seconds) = mode { try askToEnd(ids, seconds: seconds) }
            for id in ids {
                try ContainerService.destroy(id, settings: settings, cgroups: cgroups, runtimeRoot: nil, images: nil)
                logger.info("container ended", metadata: ["instance": "\(id)"])
            }
            try network()
            try images()
            try ContainerMounts.unmountTree(ContainerPaths.root(settings))
            for trial in try cgroups.trials() { try trial.removeAll() }
            try cgroups.removeParent()
            for path in [
                ContainerPaths.root(settings), ContainerPaths.exits(settings), ContainerPaths.runtimeState(settings),
            ] { try Files.removeTree(path) }
            for path in [
                ContainerPaths.launchScript(settings), EngineServer.epochPath(settings), settings.engineSocket,
            ] { try Files.remove(path) }
        } catch {
            throw (error as? PaaSError)
                ?? PaaSError(.internal, "not everything could be cleared away; run it again", cause: error)
        }
    }

    private func askToEnd(_ ids: Set<InstanceID>, seconds: Double) throws {
        var waiting: [ContainerRecord] = []
        for id in ids {
            guard let record = ContainerRecord.read(ContainerPaths(settings: settings, id: id).state) else { continue }
            try ContainerService.signal(record, SIGTERM)
            waiting.append(record)
        }
        let end = Monotonic.now() + seconds
        while Monotonic.now() < end, waiting.contains(where: { HostFacts.lives($0.pid, startTime: $0.pidStartTime) }) {
            usleep(20_000)
        }
    }
}

/// One engine for each run directory.
public final class EngineLock: Sendable {
    private let file: OwnedFD

    private init(_ file: consuming OwnedFD) { self.file = file }

    /// A child that a killed engine was about to start holds the lock until it has become another program.
    private static let patienceSeconds = 2.0

    /// - Throws: `conflict` if an engine holds it.
    public static func take(_ settings: Settings) throws(PaaSError) -> EngineLock {
        do throws(SystemError) {
            try Files.makeDirectories(settings.runDirectory, mode: 0o755)
            let path = settings.runDirectory + "/engine.lock"
            let file = try OwnedFD.open(path, O_RDWR | O_CREAT | O_NOFOLLOW)
            let end = Monotonic.now() + patienceSeconds
            while flock(file.raw, LOCK_EX | LOCK_NB) != 0 {
                guard errno == EWOULDBLOCK, Monotonic.now() < end else { throw .last("lock \(path)") }
                usleep(10_000)
            }
            return EngineLock(file)
        } catch {
            if error.errno == EWOULDBLOCK {
                throw PaaSError(
                    .conflict, "a paas-engine already runs with \(settings.runDirectory); stop it first (bin/down)")
            }
            throw error.asPaaSError("the engine's lock can't be taken")
        }
    }

    public func release() { _ = flock(file.raw, LOCK_UN) }
}
