import Domain
import Glibc
import Logging
import OS
import Synchronization

/// Programs of the host that the engine runs for builds, slugs and stacks: mkfs, the packer, the script of a stack.
///
/// Each job has a cgroup of its own, named after the process that runs it. So the job's limits hold for all that it starts,
/// whatever it leaves is ended with it, and the next engine finds what a killed one left.
struct HostWork: Sendable {
    /// One job.
    struct Group: Sendable {
        fileprivate let cgroups: HostCgroups
        fileprivate let name: String
        /// Files that take a program's pid before it starts.
        fileprivate let files: [String]

        /// The program as a part of the job: ends when this thread does, and before others when memory is short.
        func entered(_ spec: ProcessSpec) -> ProcessSpec {
            var spec = spec
            spec.cgroupFiles = files
            spec.parentDeathSignal = SIGKILL
            spec.outOfMemoryScore = 500
            return spec
        }

        /// Whether the kernel ended a program of it for want of memory.
        func ranOutOfMemory() throws(SystemError) -> Bool { try cgroups.outOfMemory(name) }
    }

    private static let prefix = "work."
    private static let numbers = Atomic<Int>(0)

    private let cgroups: HostCgroups
    private let limits: HostCgroups.Limits
    private let logger: Logger
    private let builds = Monitor(Builds())

    private struct Builds {
        /// Jobs that are done for a build right now, by their groups.
        var running: [BuildID: Set<String>] = [:]
        /// How much of the engine's own work is under way for a build.
        var own: [BuildID: Int] = [:]
        /// Builds that nothing is to be done for any more.
        var abandoned: Set<BuildID> = []
    }

    /// - Parameter memoryBytes: what a limited job may use.
    init(cgroups: HostCgroups, memoryBytes: Int64, logger: Logger) {
        self.cgroups = cgroups
        limits = HostCgroups.Limits(memoryBytes: memoryBytes, cpuMillis: 2000, pids: 64)
        self.logger = logger
    }

    /// - Parameters:
    ///   - limited: for jobs whose size a tenant decides.
    ///   - build: for which it is done.
    /// - Throws: what the body throws; `cancelled` if the build is abandoned meanwhile.
    func run<T>(
        _ message: String, limited: Bool = true, for build: BuildID? = nil, _ body: (Group) throws(PaaSError) -> T
    ) throws(PaaSError) -> T {
        let group = try ImageFailure.wrap(message) { () throws(SystemError) in
            let number = Self.numbers.add(1, ordering: .relaxed).newValue
            let started = try Host.startTime(of: getpid()) ?? 0
            let name = "\(Self.prefix)\(getpid())-\(started).\(number)"
            let group = Group(cgroups: cgroups, name: name, files: try cgroups.make(name))
            if limited { try cgroups.limit(name, limits) }
            return group
        }
        defer { clear(group.name) }
        guard let build else { return try body(group) }
        // Before it is looked for, so that an end in between is not missed.
        builds.withLock { _ = $0.running[build, default: []].insert(group.name) }
        defer {
            builds.withLock { state in
                state.running[build]?.remove(group.name)
                if state.running[build]?.isEmpty == true { state.running[build] = nil }
            }
        }
        try requireWanted(build)
        do throws(PaaSError) {
            return try body(group)
        } catch {
            // What was ended under its hands complains of something else.
            try requireWanted(build)
            throw error
        }
    }

    /// Work for a build that the engine does itself, as copying and handing over files.
    /// - Parameter body: gets a question that it asks between the parts of its work: whether to go on.
    /// - Throws: what the body throws; `cancelled` if the build is abandoned meanwhile.
    func runOwn<T: ~Copyable>(for build: BuildID, _ body: (() -> Bool) throws(PaaSError) -> T) throws(PaaSError) -> T {
        builds.withLock { $0.own[build, default: 0] += 1 }
        defer {
            builds.withLock { state in
                let left = (state.own[build] ?? 0) - 1
                state.own[build] = left > 0 ? left : nil
            }
        }
        try requireWanted(build)
        let result = try body { isWanted(build) }
        try requireWanted(build)
        return result
    }

    private func isWanted(_ build: BuildID) -> Bool { builds.withLock { !$0.abandoned.contains(build) } }

    private func requireWanted(_ build: BuildID) throws(PaaSError) {
        guard isWanted(build) else {
            throw PaaSError(.cancelled, "the build was cancelled")
        }
    }

    /// How long `abandon` waits for what runs.
    private static let endSeconds = 10.0

    /// Ends what is done for a build, now and until `forget`.
    /// - Throws: `timeout` if some of it does not end.
    func abandon(_ build: BuildID) throws(PaaSError) {
        builds.withLock { _ = $0.abandoned.insert(build) }
        let end = Monotonic.now() + Self.endSeconds
        while true {
            // A job may just be starting: its group is empty when it is looked at, and holds a program a moment later. So the
            // job itself has to be over.
            let (names, own) = builds.withLock { (Array($0.running[build] ?? []), $0.own[build] ?? 0) }
            if names.isEmpty && own == 0 { return }
            try cgroups.killAll(names, seconds: max(0, end - Monotonic.now()))
            guard Monotonic.now() < end else {
                throw PaaSError(
                    .timeout,
                    "what the engine does for the build does not end\(names.isEmpty ? "" : " (\(names.sorted().joined(separator: ", ")))"); look for processes in state D (a stuck disk), then cancel again",
                    source: .platform)
            }
            usleep(5000)
        }
    }

    /// Once the build is over.
    func forget(_ build: BuildID) { builds.withLock { _ = $0.abandoned.remove(build) } }

    /// Ends what processes that are gone left behind; `all`: also what others run now.
    func endLeftovers(all: Bool) throws(PaaSError) {
        let names = try ImageFailure.wrap("can't look at the host's control groups") { () throws(SystemError) in
            try cgroups.groups().filter { $0.hasPrefix(Self.prefix) }
        }
        for name in names where all || !Self.ownerLives(name) {
            try cgroups.killAll([name])
            try ImageFailure.wrap("can't remove a control group") { () throws(SystemError) in try cgroups.remove(name) }
        }
    }

    private static func ownerLives(_ name: String) -> Bool {
        let owner = name.dropFirst(prefix.count).prefix { $0 != "." }.split(separator: "-")
        guard owner.count == 2 else { return false }
        return HostFacts.lives(Int32(owner[0]), startTime: Int64(owner[1]))
    }

    private func clear(_ name: String) {
        do {
            try cgroups.killAll([name])
            try cgroups.remove(name)
        } catch {
            // The job's result stands. The next start of the engine tries again.
            logger.error(
                "a control group could not be cleared away",
                metadata: ["group": "\(name)", "error": "\(ErrorChain(error))"])
        }
    }
}
