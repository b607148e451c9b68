import Domain
import Glibc
import Logging
import OS

/// The life of containers on this host. Blocking; one container is worked on by one thread at a time, different ones at
/// the same time. What it knows can always be found again from the run directory, the cgroups and `/proc`.
public final class ContainerService: Sendable {
    let settings: Settings
    let logger: Logger
    let network: any ContainerNetwork
    let images: any ContainerImages
    public let runtime: OCIRuntime
    let cgroups: HostCgroups
    let logs: LogStore
    public let bootID: String
    public let node: String
    let table: ContainerTable
    private let locks = KeyedLock<InstanceID>()
    private let stopped = Monitor(false)
    /// What could not be cleared away; tried again from time to time.
    let leftovers = Monitor<Set<InstanceID>>([])
    let seccomp: JSONValue
    private let faults: FaultSwitch

    /// SIGTERM to SIGKILL for a container at its time limit.
    static let limitGraceSeconds: Double = 10

    /// - Throws: `unavailable` if the host lacks something that every container needs.
    public init(
        settings: Settings, logger: Logger, network: any ContainerNetwork, images: any ContainerImages, logs: LogStore
    ) throws(PaaSError) {
        self.settings = settings
        self.logger = logger
        self.network = network
        self.images = images
        self.logs = logs
        faults = FaultSwitch(settings.faultPoint)
        cgroups = HostCgroups(parent: settings.hostName)
        do throws(SystemError) {
            bootID = try Host.bootID(file: settings.bootIDFile)
            try Self.prepare(settings)
        } catch {
            throw error.asPaaSError("the run directory can't be prepared")
        }
        node = Host.name()
        table = ContainerTable(node: node)
        seccomp = try HostFacts.seccomp()
        runtime = try RuntimeChoice.choose(settings: settings, cgroups: cgroups)
    }

    /// Folders, and the tmpfs that holds what belongs to containers: never on disk, never in swap where the kernel can
    /// promise that.
    private static func prepare(_ settings: Settings) throws(SystemError) {
        let root = ContainerPaths.root(settings)
        try Files.makeDirectories(settings.runDirectory, mode: 0o755)
        try Files.makeDirectories(root, mode: 0o711)
        if try !MountTable.points(under: root).contains(root) {
            let flags = UInt(MS_NOSUID) | UInt(MS_NODEV)
            do throws(SystemError) {
                try ContainerMounts.mount("paas", root, "tmpfs", flags, "mode=0711,size=1g,noswap")
            } catch {
                // Before Linux 6.4.
                guard error.errno == EINVAL else { throw error }
                try ContainerMounts.mount("paas", root, "tmpfs", flags, "mode=0711,size=1g")
            }
            // What is mounted for one container must not appear in another that is being made.
            try ContainerMounts.mount("none", root, "none", UInt(MS_PRIVATE), "")
        }
        for folder in [ContainerPaths.exits(settings), ContainerPaths.runtimeState(settings)] {
            try Files.makeDirectories(folder, mode: 0o700)
        }
        try Files.writeDurably(ContainerPaths.launchScript(settings), LaunchScript.text.utf8, mode: 0o644)
    }

    // MARK: - Calls

    /// Makes it run, unless it is known already.
    /// - Parameter admit: called once nobody else works on the container, and throws if the caller may not any more.
    public func ensure(_ spec: ContainerSpec, admit: () throws(PaaSError) -> Void = {}) throws(PaaSError)
        -> ContainerObservation
    {
        try locks.withLock(spec.id) { () throws(PaaSError) -> ContainerObservation in
            try admit()
            if let entry = table[spec.id] {
                if entry.record.phase != .creating {
                    return entry.record.observation(node: node, sockets: entry.sockets)
                }
                // Nobody else works on it, so it is the rest of one that could not be cleared away.
                try undo(spec.id)
                if let ended = table.observation(spec.id) { return ended }
            } else if leftovers.withLock({ $0.contains(spec.id) }) {
                try undo(spec.id)
            }
            let began = Monotonic.now()
            let paths = ContainerPaths(settings: settings, id: spec.id)
            table.insert(ContainerRecord(spec, bootID: bootID))
            do {
                try create(spec, paths)
            } catch {
                logger.error(
                    "container could not be started",
                    metadata: [
                        "instance": "\(spec.id)", "app": "\(spec.app)", "error": "\(ErrorChain(error))",
                    ])
                try undo(spec.id)
                // It may have run: the caller has to know, and must not try again.
                if let ended = table.observation(spec.id) { return ended }
                throw (error as? PaaSError)
                    ?? PaaSError(.internal, "container \(spec.name) could not be started", cause: error)
            }
            logger.info(
                "container started",
                metadata: [
                    "instance": "\(spec.id)", "app": "\(spec.app)", "name": "\(spec.name)",
                    "milliseconds": "\(Int((Monotonic.now() - began) * 1000))",
                ])
            noticeExit(spec.id)
            guard let observation = table.observation(spec.id) else {
                throw PaaSError(.internal, "container \(spec.name) vanished while it was started")
            }
            return observation
        }
    }

    /// SIGTERM, then SIGKILL. Returns once no process of it lives.
    public func stop(_ id: InstanceID, graceSeconds: Int) throws(PaaSError) {
        // Only the signal needs the container for itself: a second, harder stop must not wait for the first one.
        let known = try locks.withLock(id) { () throws(PaaSError) -> Bool in
            guard let entry = table[id] else { return false }
            switch entry.record.phase {
            case .creating: try undo(id)
            case .running: if graceSeconds > 0 { try signal(entry.record, SIGTERM) }
            case .exited: break
            }
            return entry.record.phase != .creating
        }
        guard known else { return }
        if !table.waitForEnd(id, seconds: Double(graceSeconds)) {
            if let entry = table[id] { try signal(entry.record, SIGKILL) }
            if !table.waitForEnd(id, seconds: 5) {
                // The monitor may be gone: what the cgroup holds decides.
                try cgroups.killAll(id)
                noticeDeath(id)
            }
        }
        try locks.withLock(id) { () throws(PaaSError) in
            if table[id] != nil { try cgroups.killAll(id) }
        }
    }

    /// Forgets a container that ended.
    public func remove(_ id: InstanceID) throws(PaaSError) {
        try locks.withLock(id) { () throws(PaaSError) in
            guard let entry = table[id] else { return }
            guard entry.record.phase != .running else {
                throw PaaSError(.conflict, "container \(entry.record.name) still runs; stop it first")
            }
            try undo(id)
        }
    }

    // MARK: - Inside

    func persist(_ record: ContainerRecord) throws(PaaSError) {
        try record.write(ContainerPaths(settings: settings, id: record.id).state)
    }

    /// Takes away all of a container, whatever there is of it, in the reverse order of the steps. Of a half-made one that runs
    /// once and may have run, the record stays: as exited, until it is removed.
    func undo(_ id: InstanceID) throws(PaaSError) {
        do {
            if let record = table[id]?.record, record.phase == .creating, record.mayHaveRun == true {
                try endHalfMade(record)
                leftovers.withLock { _ = $0.remove(id) }
                return
            }
            try Self.destroy(id, settings: settings, cgroups: cgroups, runtimeRoot: runtime, images: images)
            try network.release(instance: id)
            try Self.forget(id, settings: settings)
        } catch {
            leftovers.withLock { _ = $0.insert(id) }
            logger.error(
                "container could not be cleared away",
                metadata: [
                    "instance": "\(id)", "error": "\(ErrorChain(error))",
                ])
            throw (error as? PaaSError)
                ?? PaaSError(.internal, "container \(id) could not be cleared away", cause: error)
        }
        leftovers.withLock { _ = $0.remove(id) }
        table.remove(id)
    }

    private func endHalfMade(_ record: ContainerRecord) throws {
        try Self.destroy(record.id, settings: settings, cgroups: cgroups, runtimeRoot: runtime, images: images)
        logger.warning("a container may have run and is not made again", metadata: ["instance": "\(record.id)"])
        try table.update(record.id, persist: persist) {
            $0.record.phase = .exited
            $0.record.exitedAt = Timestamp.now()
        }
    }

    /// Tries again what failed before.
    func clearLeftovers() {
        for id in leftovers.withLock({ $0 }) {
            locks.withLock(id) {
                guard leftovers.withLock({ $0.contains(id) }) else { return }
                // The failure is logged and the container stays on the list.
                _ = try? undo(id)
            }
        }
    }

    /// Processes, runtime state, cgroups, mounts: everything but the address and the record, which go last, so that an
    /// interruption is continued at the next start.
    static func destroy(
        _ id: InstanceID, settings: Settings, cgroups: HostCgroups, runtimeRoot: OCIRuntime?,
        images: (any ContainerImages)?
    ) throws {
        try cgroups.killAll(id)
        try runtimeRoot?.delete("\(id)")
        if runtimeRoot == nil { try Files.removeTree(ContainerPaths.runtimeState(settings) + "/\(id)") }
        try cgroups.remove(id)
        let paths = ContainerPaths(settings: settings, id: id)
        if let images {
            try ContainerMounts(paths: paths, firstUID: 0, uidSlot: 0, images: images).unmountAll()
        } else {
            try ContainerMounts.unmountTree(paths.directory)
        }
    }

    static func forget(_ id: InstanceID, settings: Settings) throws {
        try Files.remove(ContainerPaths.exits(settings) + "/\(id)")
        try Files.removeTree(ContainerPaths(settings: settings, id: id).directory)
    }

    /// Sends a signal to the first process, if it is still that one.
    func signal(_ record: ContainerRecord, _ number: Int32) throws(PaaSError) {
        do throws(SystemError) {
            try Self.signal(record, number)
        } catch {
            throw error.asPaaSError("container \(record.name) can't be signalled")
        }
    }

    func reachedFault(_ step: StartStep) {
        faults.reached(step.faultPoint)
    }

    /// Ends the threads that watch; containers go on.
    public func close() { stopped.withLock { $0 = true } }
    /// Blocks for `seconds`, or until closed; true then.
    func isClosed(after seconds: Double) -> Bool { stopped.wait(seconds: seconds) { $0 ? true : nil } ?? false }
}
