import CShim
import Domain
import FoundationEssentials
import Glibc
import Logging
import OS
import Synchronization
import Testing

@testable import Router

/// Runs a blocking test body on a thread of its own.
func blocking(_ body: @escaping @Sendable () throws -> Void) async throws {
    let executor = BlockingExecutor("router-test", width: 1)
    defer { executor.close() }
    try await executor.run { () throws(any Error) in try body() }
}

struct Failure: Error, CustomStringConvertible {
    var description: String
    init(_ description: String) { self.description = description }
}

/// Waits until the condition holds.
func eventually(
    _ what: String, seconds: Double = 10, _ condition: () throws -> Bool
) throws {
    let deadline = Monotonic.now() + seconds
    while try !condition() {
        if Monotonic.now() > deadline { throw Failure("did not happen within \(seconds) s: \(what)") }
        usleep(2000)
    }
}

/// A TCP socket with blocking calls and a time limit.
struct Socket: ~Copyable {
    let fd: OwnedFD

    init(_ fd: consuming OwnedFD) {
        self.fd = fd
        setTimeout(20)
    }

    /// - Parameter window: bytes that are taken before they are read, if not the kernel's choice.
    init(connect port: UInt16, ip: String = "127.0.0.1", window: Int32? = nil) throws {
        guard let address = SocketAddress(ip: ip, port: port) else { throw Failure("address") }
        let new = OwnedFD(
            try Syscall.check("socket") {
                socket(address.isIPv6 ? AF_INET6 : AF_INET, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
            })
        let raw = new.raw
        if var window { setsockopt(raw, SOL_SOCKET, SO_RCVBUF, &window, socklen_t(MemoryLayout<Int32>.size)) }
        try Syscall.check("connect") { address.withPointer { connect(raw, $0, $1) } }
        self.init(new)
    }

    func setTimeout(_ seconds: Int) {
        var time = timeval(tv_sec: seconds, tv_usec: 0)
        setsockopt(fd.raw, SOL_SOCKET, SO_RCVTIMEO, &time, socklen_t(MemoryLayout<timeval>.size))
        setsockopt(fd.raw, SOL_SOCKET, SO_SNDTIMEO, &time, socklen_t(MemoryLayout<timeval>.size))
    }

    func send(_ text: String) throws { try fd.writeAll(text.utf8) }
    func endWriting() { shutdown(fd.raw, Int32(SHUT_WR)) }

    /// Up to the end of the stream.
    func readAll() throws -> [UInt8] {
        var all: [UInt8] = []
        while true {
            let part = try fd.read(upTo: 65_536)
            if part.isEmpty { return all }
            all += part
        }
    }

    func readText() throws -> String { String(decoding: try readAll(), as: UTF8.self) }
    func readLine() throws -> String {
        var line: [UInt8] = []
        while true {
            let byte = try fd.readFully(1)
            if byte.isEmpty || byte[0] == 10 { return String(decoding: line, as: UTF8.self) }
            line += byte
        }
    }

    consuming func reset() {
        var now = linger(l_onoff: 1, l_linger: 0)
        setsockopt(fd.raw, SOL_SOCKET, SO_LINGER, &now, socklen_t(MemoryLayout<linger>.size))
    }
}

/// A TCP server: one thread for each connection.
final class Server: Sendable {
    let port: UInt16
    let accepted = Atomic<Int>(0)
    private let listener: Mutex<Int32>

    init(
        port: UInt16 = 0, ip: String = "127.0.0.1", _ handle: @escaping @Sendable (consuming Socket) throws -> Void
    ) throws {
        guard let address = SocketAddress(ip: ip, port: port) else { throw Failure("address") }
        let raw = try ListeningSocket.open(address, dualStack: false).release()
        _ = fcntl(raw, F_SETFL, 0)
        self.port = try portOf(raw)
        listener = Mutex(raw)
        Thread.start("test-server") { [self] in
            while true {
                let fd = slipway_accept(raw)
                if fd < 0 {
                    // Closed here and nowhere else: this thread must not meet another socket under the same number.
                    Glibc.close(raw)
                    return
                }
                accepted.wrappingAdd(1, ordering: .relaxed)
                Thread.start("test-flow", stackBytes: 256 << 10) {
                    // A client that goes away is what many tests are about.
                    do { try handle(Socket(OwnedFD(fd))) } catch {}
                }
            }
        }
    }

    /// The port refuses from now on.
    func close() {
        listener.withLock { raw in
            if raw >= 0 { shutdown(raw, Int32(SHUT_RDWR)) }
            raw = -1
        }
    }

    deinit { close() }

    static func echo() throws -> Server {
        try Server { socket in
            while true {
                let part = try socket.fd.read(upTo: 65_536)
                if part.isEmpty { return }
                try socket.fd.writeAll(part)
            }
        }
    }

    /// Says its name on each connection, then echoes.
    static func named(_ name: String, ip: String = "127.0.0.1") throws -> Server {
        try Server(ip: ip) { socket in
            try socket.send(name + "\n")
            while true {
                let part = try socket.fd.read(upTo: 65_536)
                if part.isEmpty { return }
                try socket.fd.writeAll(part)
            }
        }
    }
}

func portOf(_ raw: Int32) throws -> UInt16 {
    var storage = sockaddr_storage()
    var length = socklen_t(MemoryLayout<sockaddr_storage>.size)
    let result = withUnsafeMutablePointer(to: &storage) {
        $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { getsockname(raw, $0, &length) }
    }
    guard result == 0 else { throw SystemError.last("getsockname") }
    return withUnsafeBytes(of: &storage) { UInt16($0[2]) << 8 | UInt16($0[3]) }
}

/// A port that nobody listens on, below the range from which the kernel takes ports for connects.
func freePort() throws -> UInt16 {
    for _ in 0..<1000 {
        let port = UInt16.random(in: 12_000..<20_000)
        do {
            _ = try ListeningSocket.open(address: "0.0.0.0", port: port)
            return port
        } catch { continue }
    }
    throw Failure("no free port")
}
