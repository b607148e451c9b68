import Domain
import FoundationEssentials
import Glibc
import Logging
import OS

/// Answers requests on the engine's socket: 0600, owned by the platform's user, peer credentials checked, every field
/// validated, older epochs refused. Plain threads: one that reads for each connection, one for each request.
public final class EngineServer: Sendable {
    static let maximumConnections = 64
    /// Short requests of one connection at the same time; more wait in the socket.
    static let maximumInFlight = 64
    /// Requests that may take long, beside these; more are refused, so that one app's keep nobody else waiting.
    static let maximumWaiting = 1024
    static let keepAliveSeconds = 5.0

    private let settings: Settings
    private let logger: Logger
    private let containers: ContainerService
    private let builds: any BuildWorker
    private let logs: LogStore
    private let epochs: EpochGuard
    private let allowedUIDs: Set<uid_t>
    private let owner: ProcessSpec.User?
    private let connections = Monitor(0)
    private let buildLocks = KeyedLock<BuildID>()

    /// - Parameter user: whose the socket is, besides root; nil: root only.
    public init(
        settings: Settings, logger: Logger, containers: ContainerService, builds: any BuildWorker, logs: LogStore,
        user: ProcessSpec.User?
    ) throws(PaaSError) {
        self.settings = settings
        self.logger = logger
        self.containers = containers
        self.builds = builds
        self.logs = logs
        owner = user
        allowedUIDs = Set([0] + (user.map { [$0.uid] } ?? []))
        epochs = try EpochGuard(path: Self.epochPath(settings))
    }

    static func epochPath(_ settings: Settings) -> String { settings.runDirectory + "/engine.epoch" }

    /// Blocks for good; throws if the socket can't be made.
    public func serve() throws(PaaSError) {
        do throws(SystemError) {
            let listener = try UnixSocket.listen(settings.engineSocket, mode: 0o600, owner: owner)
            logger.info(
                "engine listens",
                metadata: [
                    "socket": "\(settings.engineSocket)", "runtime": "\(containers.runtime.version)",
                ])
            while true {
                let socket: OwnedFD
                do throws(SystemError) {
                    socket = try UnixSocket.accept(listener)
                } catch {
                    guard
                        error.errno == EMFILE || error.errno == ENFILE || error.errno == ENOBUFS
                            || error.errno == ENOMEM
                    else { throw error }
                    usleep(50_000)
                    continue
                }
                admit(FrameChannel(socket, maximumBytes: EngineProtocol.maximumRequestBytes))
            }
        } catch {
            throw error.asPaaSError("the engine's socket \(settings.engineSocket) can't be served")
        }
    }

    private func admit(_ channel: FrameChannel) {
        do throws(SystemError) {
            let peer = try channel.peer()
            guard allowedUIDs.contains(peer.uid) else {
                logger.warning("refused a connection", metadata: ["uid": "\(peer.uid)", "pid": "\(peer.pid)"])
                return
            }
        } catch {
            logger.warning("a connection has no credentials", metadata: ["error": "\(error)"])
            return
        }
        let admitted = connections.withLock { count in
            if count >= Self.maximumConnections { return false }
            count += 1
            return true
        }
        guard admitted else {
            logger.warning("refused a connection: \(Self.maximumConnections) are open")
            return
        }
        do throws(SystemError) {
            try Thread.tryStart("engine-conn") {
                self.converse(channel)
                self.connections.withLock { $0 -= 1 }
            }
        } catch {
            connections.withLock { $0 -= 1 }
            logger.warning(
                "refused a connection; raise the host's limit of tasks if this stays", metadata: ["error": "\(error)"])
        }
    }

    private func converse(_ channel: FrameChannel) {
        let inFlight = InFlight()
        do {
            while let frame = try channel.receive() {
                let request: EngineRequest
                do {
                    request = try JSONDecoder().decode(EngineRequest.self, from: Data(frame))
                } catch {
                    // What can't be read has no id to answer to; the text of the error might repeat a secret.
                    logger.warning("a request could not be read; the connection is closed")
                    return channel.shutdown()
                }
                if case .observe = request.call { return try observe(request, channel) }
                let takesLong = request.call.takesLong
                guard inFlight.enter(takesLong) else {
                    let refusal = PaaSError(
                        .unavailable, "\(Self.maximumWaiting) calls of the engine wait already; try again later")
                    send(EngineReply(id: request.id, result: .failed(EngineFailure(refusal))), channel)
                    continue
                }
                do throws(SystemError) {
                    try Thread.tryStart("engine-call") {
                        let result = self.answer(request)
                        self.send(EngineReply(id: request.id, result: result), channel)
                        inFlight.leave(takesLong)
                    }
                } catch {
                    inFlight.leave(takesLong)
                    let refusal = PaaSError(
                        .unavailable,
                        "the engine can start no more threads; try again later, and raise the host's limit of tasks if this stays",
                        cause: error)
                    logger.warning("refused a call", metadata: ["error": "\(ErrorChain(refusal))"])
                    send(EngineReply(id: request.id, result: .failed(EngineFailure(refusal))), channel)
                }
            }
        } catch {
            logger.debug("a connection broke", metadata: ["error": "\(error)"])
        }
    }

    private func send(_ reply: EngineReply, _ channel: FrameChannel) {
        do {
            try channel.send(Array(try JSONEncoder().encode(reply)))
        } catch {
            // The caller went away; what it asked for was done and can be asked for again.
            logger.debug("a reply could not be sent", metadata: ["error": "\(error)"])
            channel.shutdown()
        }
    }

    private func observe(_ request: EngineRequest, _ channel: FrameChannel) throws {
        do {
            try admitCall(request)
        } catch {
            return send(EngineReply(id: request.id, result: .failed(EngineFailure(error))), channel)
        }
        let queue = containers.follow()
        defer { containers.unfollow(queue) }
        // The peer says nothing more: what can be read is its end.
        try Thread.tryStart("engine-peer") {
            _ = try? channel.receive()
            queue.close()
            channel.shutdown()
        }
        while let events = queue.take(seconds: Self.keepAliveSeconds) {
            // Without events, an empty answer shows that the engine is there, and finds out whether the peer is.
            if events.isEmpty { try channel.send(encode(EngineReply(id: request.id, result: .done))) }
            for event in events { try channel.send(encode(EngineReply(id: request.id, result: .event(event)))) }
        }
        channel.shutdown()
    }

    private func encode(_ reply: EngineReply) throws -> [UInt8] { Array(try JSONEncoder().encode(reply)) }

    private func admitCall(_ request: EngineRequest) throws(PaaSError) {
        if let platform = request.platformID, platform != settings.instance {
            throw PaaSError(.conflict, "this is the engine of another platform; check PAAS_RUN_DIR and PAAS_INSTANCE")
        }
        if let epoch = request.epoch {
            try epochs.check(epoch)
        } else if !request.call.onlyReads {
            throw PaaSError(.malformed, "this call needs an epoch")
        }
        try EngineValidation.check(request.call, settings: settings)
        if case .ensure(let spec) = request.call, spec.epoch > request.epoch ?? 0 {
            throw PaaSError(.invalid, "the spec's epoch is newer than the caller's")
        }
    }

    private func answer(_ request: EngineRequest) -> EngineResult {
        do {
            try admitCall(request)
            return try perform(request)
        } catch {
            logger.info(
                "call failed", metadata: ["call": "\(Self.name(request.call))", "error": "\(ErrorChain(error))"])
            return .failed(EngineFailure(error))
        }
    }

    private static func name(_ call: EngineCall) -> String { String("\(call)".prefix { $0 != "(" }) }

    /// A call may have waited for another one on the same thing, and its caller may have been replaced meanwhile.
    private func admitAgain(_ request: EngineRequest) throws(PaaSError) {
        if let epoch = request.epoch { try epochs.check(epoch) }
    }

    private func perform(_ request: EngineRequest) throws -> EngineResult {
        guard let build = request.call.changedBuild else { return try work(request) }
        return try buildLocks.withLock(build) {
            try admitAgain(request)
            return try work(request)
        }
    }

    private func work(_ request: EngineRequest) throws -> EngineResult {
        switch request.call {
        case .capabilities:
            return .capabilities(
                EngineCapabilities(
                    seesSockets: true, node: containers.node, bootID: containers.bootID,
                    runtime: containers.runtime.version))
        case .ensure(let spec):
            return .observation(
                try containers.ensure(spec) { () throws(PaaSError) in try admitAgain(request) })
        case .stop(let id, let grace): try containers.stop(id, graceSeconds: grace)
        case .remove(let id): try containers.remove(id)
        case .observe: throw PaaSError(.malformed, "observe needs a connection of its own")
        case .logs(let app, let instance, let query, let after, let limit):
            var page = try logs.logs(
                app: app, instance: instance, matching: query ?? LogQuery(), after: after, limit: limit)
            // Tools of a build like to print how they reach a registry.
            for index in page.lines.indices { page.lines[index].text = settings.reach.redacted(page.lines[index].text) }
            return .logPage(page)
        case .removeLogs(let app): try logs.removeLogs(app: app)
        case .createBuildVolume(let build, let app, let slot, let size, let clear):
            return .path(
                try builds.createBuildVolume(build: build, app: app, uidSlot: slot, sizeBytes: size, clearCache: clear))
        case .placeSource(let build, let slot): try builds.placeSource(build: build, uidSlot: slot)
        case .sealSource(let build, let slot): try builds.sealSource(build: build, uidSlot: slot)
        case .readBuildFile(let build, let path, let limit):
            return .bytes(try builds.readBuildFile(build: build, path: path, limit: limit).map { Data($0) })
        case .packSlug(let build, let slot, let limit):
            return .slug(try builds.packSlug(build: build, uidSlot: slot, limitBytes: limit))
        case .abandonWork(let build): try builds.abandonWork(build: build)
        case .finishBuildVolume(let build, let app, let keep):
            try builds.finishBuildVolume(build: build, app: app, keepCache: keep)
        case .listBuildVolumes: return .builds(try builds.listBuildVolumes())
        case .listSlugs: return .slugs(try builds.listSlugs())
        case .removeSlug(let digest): try builds.removeSlug(digest)
        case .listCaches: return .caches(try builds.listCaches())
        case .removeCache(let app): try builds.removeCache(app: app)
        case .listStacks: return .stacks(try builds.listStacks())
        case .buildStack(let name): try builds.buildStack(name)
        case .doctor: return .findings(HostDoctor.examine(settings: settings))
        }
        return .done
    }
}

/// How many calls of one connection are worked on.
final class InFlight: Sendable {
    private let counts = Monitor((short: 0, long: 0))

    /// Waits for the others, if the call is a short one; false if it may take long and too many of these are under way.
    func enter(_ takesLong: Bool) -> Bool {
        if takesLong {
            return counts.withLock { counts in
                guard counts.long < EngineServer.maximumWaiting else { return false }
                counts.long += 1
                return true
            }
        }
        return counts.wait { counts in
            guard counts.short < EngineServer.maximumInFlight else { return nil }
            counts.short += 1
            return true
        } ?? false
    }

    func leave(_ takesLong: Bool) {
        counts.withLock { counts in if takesLong { counts.long -= 1 } else { counts.short -= 1 } }
    }
}
