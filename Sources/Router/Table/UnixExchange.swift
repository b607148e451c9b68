import CLibUV
import FoundationEssentials
import Glibc
import OS

/// One HTTP/1.1 request on a unix socket and its response, on the control loop.
final class UnixExchange {
    enum Event {
        case head(status: Int)
        case body([UInt8])
        /// The response is complete. Nothing follows.
        case end
        /// Nothing follows.
        case failed(String)
    }

    private var handle: PollHandle?
    private var parser = HTTPResponseParser()
    private var unsent: [UInt8]
    private var sent = 0
    private var isPaused = false
    private var receive: ((Event) -> Void)?
    private var buffer = [UInt8](repeating: 0, count: 65_536)

    /// Connects and sends `request`.
    /// - Throws: if nobody listens there.
    init(loop: UVLoop, path: String, request: [UInt8], _ receive: @escaping (Event) -> Void) throws {
        unsent = request
        self.receive = receive
        // Not blocking: a paasd that is stopped, with a full queue, must not stop this loop too.
        let socket = OwnedFD(try Syscall.shim("connect to \(path)", slipway_uv_unix_connect(path)))
        let poll = try PollHandle(loop: loop, socket) { [unowned self] in ready($0) }
        handle = poll
        poll.watch([.readable, .writable])
    }

    /// Connects and sends `body` as JSON to `target`, for one answer.
    /// - Throws: if nobody listens there, or `body` can't be encoded.
    convenience init(
        loop: UVLoop, path: String, post body: some Encodable, to target: String, _ receive: @escaping (Event) -> Void
    ) throws {
        let body = try JSONEncoder().encode(body)
        let head =
            "POST \(target) HTTP/1.1\r\nHost: paasd\r\nContent-Type: application/json\r\n"
            + "Content-Length: \(body.count)\r\nConnection: close\r\n\r\n"
        try self.init(loop: loop, path: path, request: Array(head.utf8) + Array(body), receive)
    }

    /// Stops reading: what comes meanwhile stays in the socket.
    func pause() {
        isPaused = true
        watch()
    }

    func resume() {
        isPaused = false
        watch()
    }

    func close() {
        receive = nil
        handle?.close()
        handle = nil
    }

    private func watch() {
        var events: PollHandle.Events = isPaused ? [] : .readable
        if sent < unsent.count { events.insert(.writable) }
        handle?.watch(events)
    }

    private func ready(_ events: PollHandle.Events) {
        // The owner may let go of this object while it is told what came.
        withExtendedLifetime(self) {
            if events.contains(.writable) { send() }
            if events.contains(.readable) { read() }
            watch()
        }
    }

    private func send() {
        guard let handle, sent < unsent.count else { return }
        let count = unsent.withUnsafeBytes { bytes in
            bytes.baseAddress.map { Glibc.send(handle.descriptor, $0 + sent, bytes.count - sent, Int32(MSG_NOSIGNAL)) }
                ?? 0
        }
        if count >= 0 {
            sent += count
        } else if errno != EAGAIN && errno != EINTR {
            fail("send: \(UVError.text(-errno))")
        }
    }

    private func read() {
        guard let handle else { return }
        let count = buffer.withUnsafeMutableBytes { Glibc.read(handle.descriptor, $0.baseAddress, $0.count) }
        if count < 0 {
            if errno != EAGAIN && errno != EINTR { fail("read: \(UVError.text(-errno))") }
            return
        }
        var events: [HTTPResponseParser.Event] = []
        do throws(HTTPResponseParser.Malformed) {
            if count == 0 {
                try parser.close { events.append($0) }
            } else {
                try parser.feed(buffer[..<count]) { events.append($0) }
            }
        } catch {
            deliver(events)
            return fail(error.description)
        }
        deliver(events)
    }

    private func deliver(_ events: [HTTPResponseParser.Event]) {
        for event in events {
            switch event {
            case .head(let status): receive?(.head(status: status))
            case .body(let bytes): receive?(.body(bytes))
            case .end:
                let last = receive
                close()
                last?(.end)
            }
        }
    }

    private func fail(_ reason: String) {
        let last = receive
        close()
        last?(.failed(reason))
    }
}
