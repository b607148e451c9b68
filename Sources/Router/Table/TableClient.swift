import Domain
import FoundationEssentials
import Logging

/// Follows paasd's table: one long response, a JSON object per line. Connects again, with growing pauses, whenever it ends,
/// falls silent or says something that can't be used. Confined to the control loop.
final class TableClient {
    private static let lineLimit = 128 << 20
    private static let firstPause: UInt64 = 50
    private static let longestPause: UInt64 = 250

    private let loop: UVLoop
    private let path: String
    private let routerID: String
    private let silence: UInt64
    private let logger: Logger
    /// A connection was made: whatever was reported on the one before may be forgotten.
    var onConnect: (() -> Void)?
    var onMessage: ((RoutingMessage) -> Void)?

    private var exchange: UnixExchange?
    private var lines = LineSplitter(limit: TableClient.lineLimit)
    private var queue: [RoutingMessage] = []
    private var isPaused = false
    private var pause = TableClient.firstPause
    private var lastProblem: String?
    private var retry: LoopTimer?
    private var watchdog: LoopTimer?
    private(set) var isConnected = false

    /// - Parameter silence: milliseconds without any line after which the connection is given up.
    init(loop: UVLoop, path: String, routerID: String, silence: UInt64, logger: Logger) {
        self.loop = loop
        self.path = path
        self.routerID = routerID
        self.silence = silence
        self.logger = logger
        retry = LoopTimer(loop: loop) { [unowned self] in connect() }
        watchdog = LoopTimer(loop: loop) { [unowned self] in
            disconnect("nothing was heard for \(silence) ms")
        }
    }

    func connect() {
        // While a change is being applied nothing could be read, and a router whose loops hang must not seem to be there.
        if isPaused {
            retry?.start(after: Self.longestPause)
            return
        }
        lines = LineSplitter(limit: Self.lineLimit)
        queue = []
        let request = "GET /v1/table?router=\(routerID) HTTP/1.1\r\nHost: paasd\r\nAccept: application/x-ndjson\r\n\r\n"
        do {
            exchange = try UnixExchange(loop: loop, path: path, request: Array(request.utf8)) { [unowned self] in
                receive($0)
            }
            watchdog?.start(after: silence)
        } catch {
            again("\(error)")
        }
    }

    func close() {
        exchange?.close()
        exchange = nil
        retry?.close()
        watchdog?.close()
        onMessage = nil
        onConnect = nil
    }

    /// The connection is of no use any more, for instance because a message could not be applied.
    func disconnect(_ reason: String) {
        exchange?.close()
        exchange = nil
        queue = []
        again(reason)
    }

    /// Holds messages back while one is applied.
    func hold() {
        isPaused = true
        exchange?.pause()
    }

    func release() {
        isPaused = false
        exchange?.resume()
        deliver()
    }

    private func again(_ reason: String) {
        isConnected = false
        watchdog?.stop()
        // paasd may be away for long: one line says it.
        if reason != lastProblem {
            logger.warning("the table can't be followed now; serving goes on", metadata: ["reason": "\(reason)"])
            lastProblem = reason
        }
        retry?.start(after: pause)
        pause = min(pause * 2, Self.longestPause)
    }

    private func receive(_ event: UnixExchange.Event) {
        switch event {
        case .head(let status):
            if status != 200 { return disconnect("paasd answered with status \(status)") }
            isConnected = true
            onConnect?()
        case .body(let bytes):
            do {
                for line in try lines.feed(bytes) {
                    queue.append(try JSONDecoder().decode(RoutingMessage.self, from: Data(line)))
                }
            } catch let error as LineSplitter.TooLong {
                return disconnect(error.description)
            } catch {
                return disconnect("a message of the table stream can't be read: \(error)")
            }
            watchdog?.start(after: silence)
            deliver()
        case .end: disconnect("paasd ended the stream")
        case .failed(let reason): disconnect(reason)
        }
    }

    private func deliver() {
        while !isPaused, !queue.isEmpty {
            let message = queue.removeFirst()
            pause = Self.firstPause
            if lastProblem != nil {
                logger.info("the table is followed again")
                lastProblem = nil
            }
            onMessage?(message)
        }
    }
}
