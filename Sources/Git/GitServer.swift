import Domain
import Glibc
import OS

/// The paas-git daemon: takes calls of paasd on a unix socket, runs each in a limited child. Plain blocking threads.
public final class GitServer: Sendable {
    private let settings: Settings
    private let program: String
    private let clientUser: uid_t
    private let log: @Sendable (String) -> Void

    /// Largest pack that a push may bring.
    static let maximumPushBytes: Int64 = 1 << 30

    /// - Parameters:
    ///   - program: path of paas-git itself, started again for each piece of work.
    ///   - clientUser: uid of the only user that may call, besides root.
    public init(settings: Settings, program: String, clientUser: uid_t, log: @escaping @Sendable (String) -> Void) {
        self.settings = settings
        self.program = program
        self.clientUser = clientUser
        self.log = log
    }

    /// Serves until the process ends.
    public func run() throws(SystemError) {
        try InterruptedWork(repositories: settings.repositoriesDirectory, log: log).clear()
        let listener = try UnixSocket.listen(settings.gitSocket, mode: 0o660)
        log("serving on \(settings.gitSocket)")
        while true {
            let socket = try UnixSocket.accept(listener)
            let peer = try UnixSocket.peer(socket)
            guard peer.uid == clientUser || peer.uid == 0 else {
                log("refused a connection of uid \(peer.uid)")
                continue
            }
            let channel = FrameChannel(socket, maximumBytes: 1 << 20)
            Thread.start("git-call") { self.serve(channel) }
        }
    }

    private func serve(_ channel: FrameChannel) {
        do {
            guard let frame = try channel.receive() else { return }
            let call = try GitWire.decode(GitCall.self, frame)
            if case .exchange(let app, let service, let advertise, let version, let ticket) = call {
                try exchange(channel, app, service, advertise: advertise, version: version, ticket: ticket)
            } else {
                try channel.send(work(frame))
            }
        } catch {
            log("call failed: \(error)")
        }
        channel.shutdown()
    }

    /// Runs the call in a child; its standard output is the reply.
    private func work(_ frame: [UInt8]) throws -> [UInt8] {
        var spec = ProcessSpec(program, ["work", settings.repositoriesDirectory], environment: Self.environment)
        spec.cpuSecondsLimit = 300
        spec.fileBytesLimit = Self.maximumPushBytes
        spec.openFilesLimit = 1024
        spec.umask = 0o022
        spec.parentDeathSignal = SIGKILL
        let result = try Command(spec, timeoutSeconds: 300).run(input: frame)
        if result.status == 0 && !result.output.isEmpty { return result.output }
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

    /// The whole configuration that matters stands here and not in the repositories.
    private func configuration() -> [String] {
        [
            "core.hooksPath=\(settings.prefix)/hooks", "receive.procReceiveRefs=refs/heads/",
            "receive.advertisePushOptions=true", "receive.advertiseAtomic=false",
            "receive.fsckObjects=true", "receive.fsck.zeroPaddedFilemode=warn",
            "receive.fsck.missingSpaceBeforeDate=warn", "receive.fsck.badTimezone=warn",
            "receive.maxInputSize=\(Self.maximumPushBytes)", "receive.autogc=false",
            "receive.denyNonFastForwards=false",
            "receive.unpackLimit=1", "transfer.hideRefs=refs/paas", "uploadpack.hideRefs=refs/paas",
            "gc.auto=0", "protocol.file.allow=never", "core.fsync=all", "core.fsyncMethod=fsync",
        ].flatMap { ["-c", $0] }
    }

    private func exchange(
        _ channel: FrameChannel, _ app: AppID, _ service: GitService, advertise: Bool, version: String?, ticket: String?
    ) throws {
        let verb = service == .receivePack ? "receive-pack" : "upload-pack"
        let path = GitWorker.path(app, in: settings.repositoriesDirectory)
        var arguments = configuration() + [verb, "--stateless-rpc"]
        if advertise { arguments.append(service == .receivePack ? "--http-backend-info-refs" : "--advertise-refs") }
        var spec = ProcessSpec("/usr/bin/git", arguments + [path], environment: Self.environment)
        // `Git-Protocol` is for fetches only and comes from outside: only the forms that git knows.
        if let version, ["version=1", "version=2"].contains(version) { spec.environment["GIT_PROTOCOL"] = version }
        if let ticket { spec.environment["PAAS_PUSH_TICKET"] = ticket }
        spec.environment["PAAS_PUSH_SOCKET"] = settings.pushSocket
        spec.environment["PAAS_APP_ID"] = app.description
        spec.openFilesLimit = 1024
        spec.newSession = true
        spec.parentDeathSignal = SIGKILL
        var prelude: [UInt8] = []
        var inputEnded = false
        if service == .receivePack && !advertise {
            let shallow: [String]
            (shallow, prelude, inputEnded) = try readPrelude(channel)
            if !shallow.isEmpty { try ShallowFile(repository: path).add(shallow) }
        }
        defer { if service == .receivePack && !advertise { tidyShallow(app, path) } }
        let input = try Pipe(), output = try Pipe(), errors = try Pipe()
        let child = try ChildProcess.spawn(
            spec, descriptors: [input.readEnd.raw, output.writeEnd.raw, errors.writeEnd.raw])
        let writeEnd = try input.writeEnd.duplicate()
        let readEnd = try output.readEnd.duplicate()
        let errorEnd = try errors.readEnd.duplicate()
        _ = consume input
        _ = consume output
        _ = consume errors

        let pid = child.pid
        let feed = InputFeed(writeEnd, first: prelude, ended: inputEnded)
        let tail = OutputTail()
        Thread.start("git-stdin") {
            feed.pump(from: channel) {
                // The pusher is gone: the program and its hook end, the build that they began does not.
                kill(-pid, SIGTERM)
            }
        }
        Thread.start("git-stderr") { tail.drain(errorEnd) }
        var failure: (any Error)?
        do {
            while true {
                let part = try readEnd.read(upTo: 65_536)
                if part.isEmpty { break }
                try channel.send([GitFrame.output] + part)
            }
        } catch {
            failure = error
            kill(-pid, SIGTERM)
        }
        let status = try child.wait()
        if let failure { throw failure }
        if status != 0 { log("git \(verb) of \(app) ended with status \(status): \(tail.text)") }
        try channel.send([GitFrame.exit] + Array("\(status) \(tail.text)".utf8))
    }

    /// The leading lines of a push that are not for git, what came behind them, and whether that was all.
    private func readPrelude(_ channel: FrameChannel) throws -> (shallow: [String], rest: [UInt8], ended: Bool) {
        var prelude = ShallowPrelude()
        while true {
            guard let frame = try channel.receive(), let tag = frame.first else {
                throw PaaSError(.cancelled, "the pusher went away")
            }
            let ended = tag == GitFrame.endOfInput
            let progress = ended ? prelude.finish() : prelude.feed(frame.dropFirst())
            if case .complete(let shallow, let rest) = progress { return (shallow, rest, ended) }
        }
    }

    /// Only where a push left a list: what it brought may have made entries needless, or never have come.
    private func tidyShallow(_ app: AppID, _ path: String) {
        guard Files.exists(path + "/shallow") else { return }
        do {
            if case .failed(let report) = try GitWire.decode(
                GitReply.self, work(try GitWire.encode(GitCall.tidyShallow(app: app))))
            {
                log("tidying the shallow list of \(app) failed: \(report.message)")
            }
        } catch {
            log("tidying the shallow list of \(app) failed: \(error)")
        }
    }
}
