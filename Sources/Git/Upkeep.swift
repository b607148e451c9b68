import Domain
import Glibc
import OS
import Synchronization

/// Packs repositories together in quiet times: every push adds a pack, and each makes all reading slower. What no ref leads to
/// (builds pin theirs) goes two weeks after it came, so that nothing that is under way can lose its objects.
///
/// git's own programs bear another one that packs; libgit2 does not. So work of libgit2 on the same repository ends the packing
/// first, which is taken up again later: nobody waits for it, and it never leaves less than was there.
final class Upkeep: Sendable {
    struct Plan: Sendable {
        /// Between two looks at all repositories.
        var pauseSeconds: Double = 60
        /// More packs than this are packed together.
        var packs = 20
        /// Longest run. One that takes longer is ended, and not tried again for `retrySeconds`.
        var longestSeconds = 1800
        var retrySeconds: Double = 6 * 3600
        /// Of objects that no ref leads to.
        var keptTime = "2.weeks.ago"
    }

    /// How long git may take to end when it is asked to.
    private static let endSeconds: Double = 5

    private struct Running {
        var app: AppID
        /// Nil until it is started.
        var group: ProgramGroup?
        var isEnded = false
    }

    private struct State {
        /// Work of libgit2 per repository.
        var work: [AppID: Int] = [:]
        var running: Running?
        var notBefore: [AppID: Double] = [:]
    }

    private let repositories: String
    private let plan: Plan
    /// Whether somebody pushes or fetches.
    private let isBusy: @Sendable () -> Bool
    private let log: @Sendable (String) -> Void
    private let state = Mutex(State())

    init(
        repositories: String, plan: Plan = Plan(), isBusy: @escaping @Sendable () -> Bool,
        log: @escaping @Sendable (String) -> Void
    ) {
        self.repositories = repositories
        self.plan = plan
        self.isBusy = isBusy
        self.log = log
    }

    /// Runs a piece of work of libgit2 that no packing may come between.
    func around<T>(_ app: AppID?, _ body: () throws -> T) rethrows -> T {
        guard let app else { return try body() }
        begin(app)
        defer { state.withLock { $0.work[app] = ($0.work[app] ?? 1) > 1 ? ($0.work[app] ?? 1) - 1 : nil } }
        return try body()
    }

    private func begin(_ app: AppID) {
        let mustWait = state.withLock { state in
            state.work[app, default: 0] += 1
            guard state.running?.app == app else { return false }
            state.running?.isEnded = true
            state.running?.group?.stop()
            return true
        }
        guard mustWait else { return }
        while state.withLock({ $0.running?.app == app }) { usleep(5000) }
    }

    /// Looks after all repositories, for good.
    func run() {
        while true {
            usleep(UInt32(plan.pauseSeconds * 1_000_000))
            look()
        }
    }

    /// One look at all repositories.
    func look() {
        do throws(SystemError) {
            for name in try Files.list(repositories) where name.hasSuffix(".git") {
                guard let app = AppID(name.dropLast(4)), try packs(of: app) > plan.packs else { continue }
                if isBusy() { return }
                pack(app)
            }
        } catch {
            log("the repositories can't be looked after: \(error)")
        }
    }

    private func packs(of app: AppID) throws(SystemError) -> Int {
        let folder = GitWorker.path(app, in: repositories) + "/objects/pack"
        // Removed since it was listed.
        guard Files.exists(folder) else { return 0 }
        return try Files.list(folder).count { $0.hasSuffix(".pack") }
    }

    private func pack(_ app: AppID) {
        let begins = state.withLock { state in
            guard state.work[app] == nil, state.running == nil, (state.notBefore[app] ?? 0) <= Monotonic.now() else {
                return false
            }
            state.running = Running(app: app)
            return true
        }
        guard begins else { return }
        let path = GitWorker.path(app, in: repositories)
        var isDone = false
        do {
            isDone = try collect(path, app)
        } catch {
            log("\(app).git can't be packed: \(error)")
        }
        let wasEnded = state.withLock { $0.running?.isEnded } == true
        if !isDone {
            tidy(path)
            if !wasEnded { state.withLock { $0.notBefore[app] = Monotonic.now() + plan.retrySeconds } }
        }
        state.withLock { $0.running = nil }
    }

    /// - Returns: whether it went through.
    private func collect(_ path: String, _ app: AppID) throws -> Bool {
        let errors = try Pipe()
        let child = try ChildProcess.spawn(spec(path), descriptors: [nil, nil, errors.writeEnd.raw])
        let group = ProgramGroup(leader: child.pid)
        let reading = try errors.readEnd.duplicate()
        _ = consume errors
        let isWanted = state.withLock { state in
            state.running?.group = group
            return state.running?.isEnded == false
        }
        if !isWanted { group.stop() }
        var tail = OutputTail()
        let deadline = Monotonic.now() + Double(plan.longestSeconds)
        var killTime = Double.infinity
        var open = true
        while open {
            var ready = pollfd(fd: reading.raw, events: Int16(POLLIN), revents: 0)
            let count = try Syscall.check("poll") { poll(&ready, 1, 500) }
            if count > 0 {
                let part = try reading.read(upTo: 4096)
                if part.isEmpty { open = false } else { tail.append(part) }
            }
            let now = Monotonic.now()
            if now > deadline, killTime == .infinity {
                log("packing \(app).git took more than \(plan.longestSeconds) s and was ended")
                group.stop()
            }
            if now > deadline || state.withLock({ $0.running?.isEnded }) == true {
                killTime = min(killTime, now + Self.endSeconds)
            }
            if now > killTime { open = false }
        }
        // Of a run that has ended by itself nothing is left to be killed.
        group.close()
        let status = try child.wait()
        if status != 0 && state.withLock({ $0.running?.isEnded }) == false {
            log("packing \(app).git ended with status \(status): \(tail.text)")
        }
        return status == 0
    }

    private func spec(_ path: String) -> ProcessSpec {
        let settings = [
            "core.hooksPath=/dev/null", "gc.pruneExpire=\(plan.keptTime)", "gc.autoDetach=false",
            "gc.writeCommitGraph=false",
            "core.fsync=all", "core.fsyncMethod=fsync", "pack.threads=1", "pack.windowMemory=64m",
            // Larger files are kept as they are: looking for likeness in them takes memory that pushes need.
            "core.bigFileThreshold=16m",
        ].flatMap { ["-c", $0] }
        var spec = ProcessSpec(
            "/usr/bin/nice",
            ["-n", "19", "/usr/bin/ionice", "-c", "3", "/usr/bin/git"] + settings + ["gc", "--quiet"],
            environment: GitServer.environment)
        spec.environment["GIT_DIR"] = path
        spec.openFilesLimit = 1024
        spec.newSession = true
        spec.parentDeathSignal = SIGKILL
        return spec
    }

    /// What a run that was ended left: nobody else writes there, because pushes have folders of their own.
    private func tidy(_ path: String) {
        do throws(SystemError) {
            try InterruptedWork.clearPacking(path)
        } catch {
            log("what an interrupted packing left in \(path) can't be removed: \(error)")
        }
    }
}
