import Domain
import Glibc
import OS
import Synchronization

/// The paas-git daemon: takes calls of paasd on a unix socket, runs each in a limited child. Plain blocking threads.
public final class GitServer: Sendable {
    let settings: Settings
    let limits: GitLimits
    let seats: Seats
    let shallowLists = ShallowLists()
    private let upkeep: Upkeep
    let log: @Sendable (String) -> Void
    private let program: String
    private let clientUser: uid_t

    /// - Parameters:
    ///   - program: path of paas-git itself, started again for each piece of work.
    ///   - clientUser: uid of the only user that may call, besides root.
    public convenience init(
        settings: Settings, program: String, clientUser: uid_t, log: @escaping @Sendable (String) -> Void
    ) {
        var limits = GitLimits()
        limits.pushBytes = settings.pushLimitBytes
        self.init(settings: settings, program: program, clientUser: clientUser, limits: limits, log: log)
    }

    init(
        settings: Settings, program: String, clientUser: uid_t, limits: GitLimits,
        log: @escaping @Sendable (String) -> Void
    ) {
        self.settings = settings
        self.program = program
        self.clientUser = clientUser
        self.limits = limits
        self.log = log
        let seats = Seats(limits)
        self.seats = seats
        upkeep = Upkeep(
            repositories: settings.repositoriesDirectory, plan: limits.upkeep,
            isBusy: { seats.taken.withLock { !$0.isEmpty } }, log: log)
    }

    /// Serves until the process ends.
    public func run() throws(SystemError) {
        try InterruptedWork(repositories: settings.repositoriesDirectory, log: log).clear()
        let listener = try UnixSocket.listen(settings.gitSocket, mode: 0o660)
        do throws(SystemError) {
            try Thread.tryStart("git-upkeep") { [upkeep] in upkeep.run() }
        } catch {
            log("repositories are not packed together: \(error)")
        }
        log("serving on \(settings.gitSocket)")
        while true {
            do throws(SystemError) {
                try admit(try UnixSocket.accept(listener))
            } catch {
                log("a connection was not served: \(error)")
                usleep(100_000)
            }
        }
    }

    private func admit(_ socket: consuming OwnedFD) throws(SystemError) {
        let peer = try UnixSocket.peer(socket)
        guard peer.uid == clientUser || peer.uid == 0 else {
            return log("refused a connection of uid \(peer.uid)")
        }
        let channel = FrameChannel(socket, maximumBytes: 1 << 20)
        try channel.limitIdle(receiveSeconds: limits.idleSeconds, sendSeconds: limits.idleSeconds)
        try Thread.tryStart("git-call") { self.serve(channel) }
    }

    private func serve(_ channel: FrameChannel) {
        defer { channel.shutdown() }
        var refusal: [UInt8] = []
        do {
            guard let frame = try channel.receive() else { return }
            let call = try GitWire.decode(GitCall.self, frame)
            if case .exchange(let call) = call {
                refusal = [GitFrame.failed]
                try exchange(channel, call)
            } else {
                // Nobody needs half of a checkout; the others change a repository and are never cut short.
                var socket: Int32?
                if case .checkout = call { socket = channel.number }
                try channel.send(work(frame, of: call.app, whileConnected: socket))
            }
        } catch {
            log("a call failed: \(error)")
            do {
                let report = ErrorReport(error)
                refusal += try refusal.isEmpty ? GitWire.encode(GitReply.failed(report)) : GitWire.encode(report)
                try channel.send(refusal)
            } catch {
                log("its caller was not told: \(error)")
            }
        }
    }

    /// Runs the call in a child; its standard output is the reply.
    /// - Parameters:
    ///   - app: whose repository it is about.
    ///   - socket: the child is ended when its other end goes; nil: it never is.
    func work(_ frame: [UInt8], of app: AppID?, whileConnected socket: Int32? = nil) throws -> [UInt8] {
        try upkeep.around(app) { try work(frame, socket) }
    }

    private func work(_ frame: [UInt8], _ socket: Int32?) throws -> [UInt8] {
        var spec = ProcessSpec(program, ["work", settings.repositoriesDirectory], environment: Self.environment)
        spec.cpuSecondsLimit = 300
        // What it writes is one of a checkout's files, or a pack of a history that pushes brought; some room for an index.
        spec.fileBytesLimit = max(limits.pushBytes, settings.checkoutLimitBytes) + (64 << 20)
        spec.openFilesLimit = 1024
        spec.umask = 0o022
        spec.parentDeathSignal = SIGKILL
        let result = try Command(spec, timeoutSeconds: 300).run(input: frame, whileConnected: socket)
        if result.status == 0 && !result.output.isEmpty { return result.output }
        if result.isUnwanted { throw PaaSError(.cancelled, "its caller has gone; the work was ended") }
        let reason = result.timedOut ? "took longer than 5 minutes" : "ended with status \(result.status)"
        log("worker \(reason): \(result.errorText.suffix(500))")
        return try GitWire.encode(
            GitReply.failed(
                ErrorReport(code: .appFailed, message: "reading the repository failed: git's worker \(reason)")))
    }

    static let environment: [String: String] = ProcessSpec.plainEnvironment.merging([
        "GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": "/dev/null", "HOME": "/nonexistent",
        "GIT_TERMINAL_PROMPT": "0",
    ]) { $1 }
}
