import Domain
import Glibc
import OS
import Synchronization

/// The apps' repositories and git's own programs, through the paas-git daemon.
public final class GitClient: SourceRepositories, GitTransport {
    private let socket: String
    private let executor = BlockingExecutor("git-client", width: 16)

    public init(socket: String) { self.socket = socket }

    private static func connect(_ socket: String) throws(PaaSError) -> FrameChannel {
        do throws(SystemError) {
            return FrameChannel(try UnixSocket.connect(socket), maximumBytes: 1 << 20)
        } catch {
            throw PaaSError(.unavailable, "the git service is not running; try again in a moment", cause: error)
        }
    }

    private func call(_ call: GitCall) async throws(PaaSError) -> GitReply {
        try await self.call(call, cancellation: nil)
    }

    /// As `call`, but a task that is cancelled hangs up at once, which ends the work at the other end. Only for what changes
    /// no repository.
    private func cancellableCall(_ call: GitCall) async throws(PaaSError) -> GitReply {
        let cancellation = Cancellation()
        let result: Result<GitReply, PaaSError> = await withTaskCancellationHandler {
            do throws(PaaSError) {
                return .success(try await self.call(call, cancellation: cancellation))
            } catch {
                return .failure(cancellation.isCancelled ? PaaSError(.cancelled, "the call was cancelled") : error)
            }
        } onCancel: {
            cancellation.cancel()
        }
        return try result.get()
    }

    /// Hangs up the channel of a call, if need be as soon as there is one.
    private final class Cancellation: Sendable {
        private let state = Mutex<(channel: FrameChannel?, isCancelled: Bool)>((nil, false))

        var isCancelled: Bool { state.withLock { $0.isCancelled } }

        func watch(_ channel: FrameChannel) {
            state.withLock { state in
                state.channel = channel
                if state.isCancelled { channel.shutdown() }
            }
        }

        func cancel() {
            state.withLock { state in
                state.isCancelled = true
                state.channel?.shutdown()
            }
        }
    }

    private func call(_ call: GitCall, cancellation: Cancellation?) async throws(PaaSError) -> GitReply {
        let socket = socket
        let request = try GitWire.encode(call)
        let reply = try await executor.run { () throws(PaaSError) -> [UInt8] in
            let channel = try Self.connect(socket)
            cancellation?.watch(channel)
            do throws(SystemError) {
                try channel.send(request)
                if let reply = try channel.receive() { return reply }
            } catch {
                throw PaaSError(.unavailable, "the git service was interrupted; try again", cause: error)
            }
            throw PaaSError(.unavailable, "the git service was interrupted; try again")
        }
        let decoded = try GitWire.decode(GitReply.self, reply)
        if case .failed(let report) = decoded { throw report.asError }
        return decoded
    }

    private static func unexpected() -> PaaSError {
        PaaSError(.internal, "paas-git answered something else than asked")
    }

    public func create(app: AppID) async throws(PaaSError) { _ = try await call(.create(app: app)) }
    public func remove(app: AppID) async throws(PaaSError) { _ = try await call(.remove(app: app)) }
    public func setAside(app: AppID) async throws(PaaSError) { _ = try await call(.setAside(app: app)) }

    public func list() async throws(PaaSError) -> [AppID] {
        guard case .apps(let apps) = try await call(.list) else { throw Self.unexpected() }
        return apps
    }

    public func pin(app: AppID, build: BuildID, commit: String) async throws(PaaSError) {
        _ = try await call(.pin(app: app, build: build, commit: commit))
    }

    public func unpin(app: AppID, build: BuildID) async throws(PaaSError) {
        _ = try await call(.unpin(app: app, build: build))
    }

    public func pins(app: AppID) async throws(PaaSError) -> [BuildID] {
        guard case .builds(let builds) = try await call(.pins(app: app)) else { throw Self.unexpected() }
        return builds
    }

    public func resolve(app: AppID, revision: String) async throws(PaaSError) -> String {
        guard case .text(let text?) = try await call(.resolve(app: app, revision: revision)) else {
            throw Self.unexpected()
        }
        return text
    }

    public func commitInfo(app: AppID, commit: String) async throws(PaaSError) -> CommitInfo {
        guard case .commit(let info) = try await call(.commitInfo(app: app, commit: commit)) else {
            throw Self.unexpected()
        }
        return info
    }

    public func inspect(app: AppID, commit: String) async throws(PaaSError) -> TreeFacts {
        guard case .facts(let facts) = try await call(.inspect(app: app, commit: commit)) else {
            throw Self.unexpected()
        }
        return facts
    }

    public func checkout(
        app: AppID, commit: String, into directory: String, limitBytes: Int64, keeping: KeptHistory?
    ) async throws(PaaSError) {
        _ = try await cancellableCall(
            .checkout(app: app, commit: commit, directory: directory, limitBytes: limitBytes, keeping: keeping))
    }

    public func updateRef(app: AppID, ref: String, old: String?, new: String) async throws(PaaSError) {
        _ = try await call(.updateRef(app: app, ref: ref, old: old, new: new))
    }

    public func readRef(app: AppID, ref: String) async throws(PaaSError) -> String? {
        guard case .text(let text) = try await call(.readRef(app: app, ref: ref)) else { throw Self.unexpected() }
        return text
    }

    public func setHead(app: AppID, branch: String) async throws(PaaSError) {
        _ = try await call(.setHead(app: app, branch: branch))
    }

    public func advertise(app: AppID, service: GitService, protocolVersion: String?) async throws(PaaSError)
        -> any GitExchange
    {
        try await open(
            GitExchangeCall(app: app, service: service, advertise: true, protocolVersion: protocolVersion))
    }

    public func serve(app: AppID, service: GitService, protocolVersion: String?, ticket: String?)
        async throws(PaaSError)
        -> any GitExchange
    {
        try await open(
            GitExchangeCall(
                app: app, service: service, advertise: false, protocolVersion: protocolVersion, ticket: ticket))
    }

    public func session(app: AppID, service: GitService, ticket: String?) async throws(PaaSError) -> any GitExchange {
        try await open(
            GitExchangeCall(
                app: app, service: service, advertise: false, protocolVersion: nil, ticket: ticket, isSession: true))
    }

    private func open(_ call: GitExchangeCall) async throws(PaaSError) -> any GitExchange {
        let socket = socket
        let request = try GitWire.encode(GitCall.exchange(call))
        let channel = try await executor.run { () throws(PaaSError) -> FrameChannel in
            let channel = try Self.connect(socket)
            do throws(SystemError) { try channel.send(request) } catch {
                throw PaaSError(.unavailable, "the git service was interrupted; try again", cause: error)
            }
            return channel
        }
        return SocketExchange(channel, verb: call.verb)
    }
}

/// One run of a git program at the other end of a socket. Two threads of its own: reading waits as long as a build takes.
final class SocketExchange: GitExchange {
    private let channel: FrameChannel
    private let verb: String
    private let hasReplied = Mutex(false)
    private let reader = BlockingExecutor("git-read", width: 1)
    private let writer = BlockingExecutor("git-write", width: 1)

    init(_ channel: FrameChannel, verb: String) {
        self.channel = channel
        self.verb = verb
    }

    deinit {
        channel.shutdown()
        reader.close()
        writer.close()
    }

    private func send(_ frame: [UInt8]) async throws(SystemError) {
        let channel = channel
        try await writer.run { () throws(SystemError) in try channel.send(frame) }
    }

    private static func interrupted(_ error: SystemError) -> PaaSError {
        PaaSError(.unavailable, "the git service was interrupted; try again", cause: error)
    }

    func write(_ bytes: [UInt8]) async throws(PaaSError) {
        var rest = bytes[...]
        while !rest.isEmpty {
            do throws(SystemError) {
                try await send([GitFrame.input] + rest.prefix(65_536))
            } catch { throw Self.interrupted(error) }
            rest = rest.dropFirst(65_536)
        }
    }

    func finishWriting() async throws(PaaSError) {
        do throws(SystemError) {
            try await send([GitFrame.endOfInput])
        } catch {
            // A program that needs no input may have answered and ended by now: reading tells.
            guard error.errno == EPIPE || error.errno == ECONNRESET else { throw Self.interrupted(error) }
        }
    }

    func read() async throws(PaaSError) -> [UInt8]? {
        let channel = channel
        let frame: [UInt8]?
        do throws(SystemError) {
            frame = try await reader.run { () throws(SystemError) in try channel.receive() }
        } catch {
            throw Self.interrupted(error)
        }
        guard let frame, let tag = frame.first else {
            throw PaaSError(.unavailable, "the git service was interrupted; try again")
        }
        let body = frame.dropFirst()
        switch tag {
        case GitFrame.output:
            hasReplied.withLock { $0 = true }
            return Array(body)
        case GitFrame.failed: throw try GitWire.decode(ErrorReport.self, Array(body)).asError
        default:
            try checkEnd(String(decoding: body, as: UTF8.self))
            return nil
        }
    }

    /// A push that was declined may end with a status other than 0, but has its whole reply; git's client reads the reasons
    /// there. A program that was killed left half a reply, and one that said nothing left nobody the wiser.
    private func checkEnd(_ report: String) throws(PaaSError) {
        let parts = report.split(separator: " ", maxSplits: 1)
        let status = parts.first.flatMap { Int32($0) } ?? -1
        let isKilled = status > 128 || status < 0
        guard status != 0, isKilled || !hasReplied.withLock({ $0 }) else { return }
        throw PaaSError(
            .internal,
            "git \(verb) \(isKilled ? "was ended before its reply was complete" : "ended without a reply") (status \(status)); try again, and if that does not help, the log of paas-git has the details",
            cause: PaaSError(.internal, parts.count > 1 ? String(parts[1]) : "nothing on standard error"))
    }

    func close() async { channel.shutdown() }
}
