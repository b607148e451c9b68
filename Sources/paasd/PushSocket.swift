import API
import Builder
import Domain
import FoundationEssentials
import Glibc
import Logging
import OS

/// Where the proc-receive hook finds paasd: one push per connection, lines of JSON. The socket's folder is open to the
/// users paas and paas-git only, and the peer must be one of them (or root).
final class PushSocket: Sendable {
    private let path: String
    private let service: PushService
    private let tickets: PushTickets
    private let logger: Logger

    init(path: String, service: PushService, tickets: PushTickets, logger: Logger) {
        self.path = path
        self.service = service
        self.tickets = tickets
        self.logger = logger
    }

    func start() throws {
        let allowed = Set([ProcessSpec.User.named("paas-git")?.uid, getuid(), 0].compactMap { $0 })
        let listener = try UnixSocket.listen(path, mode: 0o660).release()
        Thread.start("push-accept") { [self] in
            let listener = OwnedFD(listener)
            while true {
                do {
                    let socket = try UnixSocket.accept(listener)
                    let peer = try UnixSocket.peer(socket)
                    guard allowed.contains(peer.uid) else {
                        logger.warning("push socket: refused", metadata: ["uid": "\(peer.uid)"])
                        continue
                    }
                    let connection = PushConnection(socket)
                    try Thread.tryStart("push") { self.serve(connection) }
                } catch {
                    logger.error("push socket: a connection was not served", metadata: ["error": "\(error)"])
                    usleep(100_000)
                }
            }
        }
    }

    /// On a thread of its own until the hello is read, then as a task.
    private func serve(_ connection: PushConnection) {
        let hello: PushHello
        do {
            hello = try connection.hello()
        } catch {
            logger.warning("push socket: unreadable hello", metadata: ["error": "\(error)"])
            connection.close()
            return
        }
        Task { [self] in
            let results = await handle(hello, connection)
            do { try await connection.send(PushReply(results: results)) } catch {
                logger.info("a pusher was gone when its push was decided")
            }
            connection.close()
        }
    }

    private func handle(_ hello: PushHello, _ connection: PushConnection) async -> [String: RefDecision] {
        func refuse(_ reason: String) -> [String: RefDecision] {
            Dictionary(hello.commands.map { ($0.ref, .refuse(reason)) }, uniquingKeysWith: { first, _ in first })
        }
        do throws(PaaSError) {
            guard let grant = try await grant(hello) else {
                return refuse("the platform was restarted during this push; push again")
            }
            return await service.handle(PushRequest(hello, app: grant.app, principal: grant.principal)) { reply in
                try await connection.send(reply)
            }
        } catch {
            logger.error("a push can't be followed", metadata: ["error": "\(ErrorChain(error))"])
            return refuse("\(error.message); its build goes on when it can: paasctl builds")
        }
    }

    private func grant(_ hello: PushHello) async throws(PaaSError) -> PushGrant? {
        let now = Timestamp.now()
        let commands = hello.commands
        if let grant = tickets.redeem(hello.ticket, for: commands, now: now)
            ?? tickets.resume(hello.ticket, for: commands, now: now)
        {
            return grant
        }
        // After a restart of paasd no ticket is known. The hook may still follow the build that it opened: it alone (a
        // process of paas-git) knows the id, and following changes nothing.
        guard let id = hello.resume, let build = try await service.find(id) else { return nil }
        return PushGrant(
            principal: Principal(token: .random(), name: build.createdBy, role: .developer, space: nil), app: build.app)
    }
}

/// One hook's connection. Writing happens on a thread of its own: a pusher that does not read must not hold up others.
final class PushConnection: Sendable {
    private let socket: OwnedFD
    private let writer = BlockingExecutor("push-write", width: 1)

    init(_ socket: consuming OwnedFD) { self.socket = socket }

    deinit { writer.close() }

    /// Blocks for the hook's only message.
    func hello() throws -> PushHello {
        var line: [UInt8] = []
        while line.last != 10 {
            guard line.count <= PushProtocol.maximumLineBytes else {
                throw PaaSError(.tooLarge, "a hello of more than \(PushProtocol.maximumLineBytes) bytes")
            }
            let part = try socket.read(upTo: 65_536)
            if part.isEmpty { throw PaaSError(.malformed, "the hook went away before its hello") }
            line += part
        }
        return try JSONDecoder().decode(PushHello.self, from: Data(line))
    }

    func send(_ reply: PushReply) async throws {
        var bytes = Array(try JSONEncoder().encode(reply))
        bytes.append(10)
        let message = bytes
        try await writer.run { [self] () throws(SystemError) in try socket.writeAll(message) }
    }

    func close() { _ = shutdown(socket.raw, Int32(SHUT_RDWR)) }
}
