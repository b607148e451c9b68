import CLibUV
import Glibc
import Logging
import OS

/// `/healthz`, `/readyz` and `/metrics`, on the control loop: a few connections at a time, one short request each.
final class MetricsServer {
    private static let connectionLimit = 32
    private static let requestLimit = 4096
    private static let patience: UInt64 = 5000
    /// A loop that does not answer for so long is not well.
    private static let loopPatience: UInt64 = 1000

    private unowned let control: ControlPlane
    private let address: String
    private var listener: PollHandle?
    private var connections: [ObjectIdentifier: MetricsConnection] = [:]
    private var retry: LoopTimer?
    private var resume: LoopTimer?
    private var hasReported = false
    private var token = 0
    private var checks: [Int: HealthCheck] = [:]

    private final class HealthCheck {
        var missing: Int
        let connection: MetricsConnection
        var timer: LoopTimer?
        init(missing: Int, connection: MetricsConnection) {
            self.missing = missing
            self.connection = connection
        }
    }

    init(control: ControlPlane, address: String) {
        self.control = control
        self.address = address
        retry = LoopTimer(loop: control.loop) { [unowned self] in start() }
        resume = LoopTimer(loop: control.loop) { [unowned self] in listener?.watch(.readable) }
    }

    /// Tries again until the address can be had: without metrics traffic goes on.
    func start() {
        guard let parsed = SocketAddress(hostAndPort: address) else { return }
        do {
            let socket = try ListeningSocket.open(parsed, dualStack: false)
            let poll = try PollHandle(loop: control.loop, socket) { [unowned self] _ in accept() }
            listener = poll
            poll.watch(.readable)
        } catch {
            if !hasReported {
                control.logger.error(
                    "metrics and health can't be served yet", metadata: ["address": "\(address)", "error": "\(error)"])
                hasReported = true
            }
            retry?.start(after: 2000)
        }
    }

    func close() {
        listener?.close()
        retry?.close()
        resume?.close()
        for connection in connections.values { connection.close() }
        connections = [:]
        for check in checks.values { check.timer?.close() }
        checks = [:]
    }

    private func accept() {
        guard let listener else { return }
        let result = slipway_uv_accept(listener.descriptor)
        guard result >= 0 else {
            if [EMFILE, ENFILE, ENOBUFS, ENOMEM].contains(-result) {
                // The connection stays in the queue: without a pause this would be asked again at once, for ever.
                listener.watch([])
                resume?.start(after: 100)
            }
            return
        }
        let descriptor = OwnedFD(result)
        guard connections.count < Self.connectionLimit else { return }
        do throws(UVError) {
            let connection = try MetricsConnection(
                loop: control.loop, descriptor, requestLimit: Self.requestLimit, patience: Self.patience)
            connections[ObjectIdentifier(connection)] = connection
            connection.onEnd = { [unowned self] connection in connections[ObjectIdentifier(connection)] = nil }
            connection.onRequest = { [unowned self] connection, method, path in answer(connection, method, path) }
        } catch {
            control.logger.error("a connection for metrics can't be served", metadata: ["error": "\(error)"])
        }
    }

    private func answer(_ connection: MetricsConnection, _ method: String, _ path: String) {
        guard method == "GET" || method == "HEAD" else {
            return connection.respond(405, "only GET and HEAD are allowed here\n", head: false, allow: "GET, HEAD")
        }
        connection.isHead = method == "HEAD"
        switch path {
        case "/healthz": checkHealth(connection)
        case "/readyz":
            if let reason = control.unreadiness {
                connection.respond(503, reason + "\n")
            } else {
                checkHealth(connection)
            }
        case "/metrics": connection.respond(200, MetricsText.write(control))
        default: connection.respond(404, "there are /healthz, /readyz and /metrics\n")
        }
    }

    private func checkHealth(_ connection: MetricsConnection) {
        token += 1
        let token = token
        let check = HealthCheck(missing: control.shared.mailboxes.count, connection: connection)
        check.timer = LoopTimer(loop: control.loop) { [unowned self] in
            endCheck(token, 503, "a packet loop does not answer\n")
        }
        check.timer?.start(after: Self.loopPatience)
        checks[token] = check
        for mailbox in control.shared.mailboxes { mailbox.send(.ping(token)) }
    }

    /// A loop answered a ping.
    func answered(_ token: Int) {
        guard let check = checks[token] else { return }
        check.missing -= 1
        if check.missing == 0 { endCheck(token, 200, "ok\n") }
    }

    private func endCheck(_ token: Int, _ status: Int, _ text: String) {
        guard let check = checks.removeValue(forKey: token) else { return }
        check.timer?.close()
        check.connection.respond(status, text)
    }
}
