import CLibUV
import Glibc
import OS

/// One connection for one request, bounded in time and size. Confined to the control loop.
final class MetricsConnection {
    private let requestLimit: Int
    private var handle: PollHandle?
    private var timer: LoopTimer?
    private var request: [UInt8] = []
    private var response: [UInt8] = []
    private var sent = 0
    private var isAnswering = false
    var isHead = false
    var onRequest: ((MetricsConnection, _ method: String, _ path: String) -> Void)?
    var onEnd: ((MetricsConnection) -> Void)?

    init(loop: UVLoop, _ descriptor: consuming OwnedFD, requestLimit: Int, patience: UInt64) throws(UVError) {
        self.requestLimit = requestLimit
        let poll = try PollHandle(loop: loop, descriptor) { [unowned self] in ready($0) }
        handle = poll
        let timer = LoopTimer(loop: loop) { [unowned self] in end() }
        timer.start(after: patience)
        self.timer = timer
        poll.watch(.readable)
    }

    func close() {
        handle?.close()
        handle = nil
        timer?.close()
        timer = nil
        onRequest = nil
        onEnd = nil
    }

    func respond(_ status: Int, _ text: String, head: Bool? = nil, allow: String? = nil) {
        guard let handle else { return }
        let reasons = [
            200: "OK", 400: "Bad Request", 404: "Not Found", 405: "Method Not Allowed", 503: "Service Unavailable",
        ]
        var lines =
            "HTTP/1.1 \(status) \(reasons[status] ?? "")\r\nConnection: close\r\nContent-Length: \(text.utf8.count)\r\n"
        lines += "Content-Type: text/plain; version=0.0.4; charset=utf-8\r\n"
        if let allow { lines += "Allow: \(allow)\r\n" }
        response = Array((lines + "\r\n" + (head ?? isHead ? "" : text)).utf8)
        handle.watch(.writable)
    }

    private func end() {
        let last = onEnd
        close()
        last?(self)
    }

    private func ready(_ events: PollHandle.Events) {
        withExtendedLifetime(self) {
            if events.contains(.writable) { write() } else { read() }
        }
    }

    private func read() {
        guard let handle, !isAnswering else { return }
        var buffer = [UInt8](repeating: 0, count: 2048)
        let count = Glibc.read(handle.descriptor, &buffer, buffer.count)
        if count < 0 && (errno == EAGAIN || errno == EINTR) { return }
        guard count > 0 else { return end() }
        request.append(contentsOf: buffer[..<count])
        let isWhole = request.indices.contains { i in
            i >= 3 && request[i] == 10 && request[i - 1] == 13 && request[i - 2] == 10 && request[i - 3] == 13
        }
        if isWhole {
            isAnswering = true
            handle.watch([])
            let line = String(decoding: request.prefix { $0 != 13 }, as: UTF8.self)
            let parts = line.split(separator: " ", omittingEmptySubsequences: false)
            guard parts.count == 3, parts[2] == "HTTP/1.1" || parts[2] == "HTTP/1.0" else {
                return respond(400, "not an HTTP/1 request\n")
            }
            onRequest?(self, String(parts[0]), String(parts[1].prefix { $0 != "?" }))
        } else if request.count > requestLimit {
            isAnswering = true
            respond(400, "the request is too long\n")
        }
    }

    private func write() {
        guard let handle, sent < response.count else { return end() }
        let count = response.withUnsafeBytes { bytes in
            bytes.baseAddress.map {
                Glibc.send(handle.descriptor, $0 + sent, bytes.count - sent, Int32(MSG_NOSIGNAL))
            } ?? 0
        }
        if count < 0 && (errno == EAGAIN || errno == EINTR) { return }
        sent += max(0, count)
        if count < 0 || sent == response.count { end() }
    }
}
