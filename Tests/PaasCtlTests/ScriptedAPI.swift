import Dispatch
import Glibc
import Synchronization

@testable import paasctl

/// A server on loopback that answers each connection with the next of its replies, as it is written, and keeps what was
/// asked. A reply that is held is sent, and its connection left open.
final class ScriptedAPI: Sendable {
    struct Reply: Sendable {
        var text: String
        var isHeld = false

        static func json(_ body: String, status: String = "200 OK") -> Reply {
            Reply(text: "HTTP/1.1 \(status)\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n\(body)")
        }
        static func events(_ body: String, isHeld: Bool = false) -> Reply {
            Reply(
                text: "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n\(body)",
                isHeld: isHeld)
        }
    }

    /// Closed once neither the server nor the thread that accepts can use its number any more.
    private final class Listener: Sendable {
        let file: Int32
        init(_ file: Int32) { self.file = file }
        deinit { close(file) }
    }

    private let listener: Listener
    let port: UInt16
    private let asked = Mutex<[String]>([])
    private let held = Mutex<[Int32]>([])

    var requests: [String] { asked.withLock { $0 } }

    init(_ replies: [Reply]) throws {
        let own = socket(AF_INET, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = inet_addr("127.0.0.1")
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let isOpen = withUnsafeMutablePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(own, $0, length) == 0 && listen(own, 8) == 0 && getsockname(own, $0, &length) == 0
            }
        }
        guard isOpen else { throw Failure("no socket: \(StandardInput.errorText(errno))") }
        port = UInt16(bigEndian: address.sin_port)
        let listener = Listener(own)
        self.listener = listener
        DispatchQueue(label: "scripted-api").async { [weak self] in Self.serve(listener, replies, self) }
    }

    deinit {
        shutdown(listener.file, Int32(SHUT_RDWR))
        for connection in held.withLock({ $0 }) { close(connection) }
    }

    private static func serve(_ listener: Listener, _ replies: [Reply], _ owner: @autoclosure () -> ScriptedAPI?) {
        for reply in replies {
            let connection = accept(listener.file, nil, nil)
            guard connection >= 0 else { return }
            var request: [UInt8] = []
            var buffer = [UInt8](repeating: 0, count: 8192)
            while !String(decoding: request, as: UTF8.self).contains("\r\n\r\n") {
                let count = read(connection, &buffer, buffer.count)
                guard count > 0 else { break }
                request += buffer.prefix(count)
            }
            let api = owner()
            api?.asked.withLock { $0.append(String(decoding: request, as: UTF8.self)) }
            let bytes = Array(reply.text.utf8)
            _ = bytes.withUnsafeBytes { write(connection, $0.baseAddress, $0.count) }
            if reply.isHeld { api?.held.withLock { $0.append(connection) } } else { close(connection) }
        }
    }

    /// Serves `replies` while `body` runs.
    static func run<Result>(
        _ replies: [Reply], silenceSeconds: Int64 = 10, _ body: (ScriptedAPI, APIClient) async throws -> Result
    ) async throws -> Result {
        let api = try ScriptedAPI(replies)
        defer { withExtendedLifetime(api) {} }
        return try await body(api, try api.client(silenceSeconds: silenceSeconds))
    }

    private func client(silenceSeconds: Int64) throws -> APIClient {
        APIClient(
            api: try APIAddress("http://127.0.0.1:\(port)"), token: "secret", certificates: nil,
            silenceSeconds: silenceSeconds)
    }
}
