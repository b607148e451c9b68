import Domain
import FoundationEssentials
import Logging

/// Sends acknowledgements, one at a time and the newest only; again after a failure. Each attempt has a number of its own,
/// because one that was given up may still arrive, after a later one. Confined to the control loop.
final class AcknowledgementSender {
    private static let retryPause: UInt64 = 200
    private static let patience: UInt64 = 5000

    private let loop: UVLoop
    private let path: String
    private let routerID: String
    private let logger: Logger
    private let start = UUID().uuidString
    private var sequence: Int64 = 0
    private var exchange: UnixExchange?
    private var next: RouterAcknowledgement?
    private var status = 0
    private var timer: LoopTimer?
    private var lastProblem: String?

    init(loop: UVLoop, path: String, routerID: String, logger: Logger) {
        self.loop = loop
        self.path = path
        self.routerID = routerID
        self.logger = logger
        timer = LoopTimer(loop: loop) { [unowned self] in timeUp() }
    }

    private var inFlight: RouterAcknowledgement?

    func send(_ acknowledgement: RouterAcknowledgement) {
        next = acknowledgement
        if exchange == nil { begin() }
    }

    func close() {
        exchange?.close()
        exchange = nil
        timer?.close()
    }

    private func begin() {
        guard var acknowledgement = next else { return }
        next = nil
        sequence += 1
        acknowledgement.start = start
        acknowledgement.sequence = sequence
        inFlight = acknowledgement
        status = 0
        do {
            exchange = try UnixExchange(
                loop: loop, path: path, post: acknowledgement, to: "/v1/routers/\(routerID)/ack"
            ) { [unowned self] in receive($0) }
            timer?.start(after: Self.patience)
        } catch {
            failed("\(error)")
        }
    }

    private func receive(_ event: UnixExchange.Event) {
        switch event {
        case .head(let status): self.status = status
        case .body: break
        case .end: finished()
        case .failed(let reason): failed(reason)
        }
    }

    private func finished() {
        guard status >= 200 && status < 300 else { return failed("paasd answered with status \(status)") }
        exchange = nil
        inFlight = nil
        lastProblem = nil
        timer?.stop()
        begin()
    }

    private func failed(_ reason: String) {
        exchange?.close()
        exchange = nil
        if reason != lastProblem {
            logger.warning("an acknowledgement was not taken; it is sent again", metadata: ["reason": "\(reason)"])
            lastProblem = reason
        }
        if next == nil { next = inFlight }
        inFlight = nil
        timer?.start(after: Self.retryPause)
    }

    private func timeUp() {
        if exchange == nil { begin() } else { failed("no answer within \(Self.patience) ms") }
    }
}
