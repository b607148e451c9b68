import CShim  // whose headers may be the first to bring timeval
import Glibc
import Synchronization

/// Length-prefixed messages over a stream socket: four bytes of length (big endian), then that many bytes. Blocking.
/// One thread reads; any thread may write.
public final class FrameChannel: Sendable {
    private let socket: OwnedFD
    private let maximumBytes: Int
    private let writing = Mutex(())

    /// - Parameter maximumBytes: larger frames from the peer end the connection.
    public init(_ socket: consuming OwnedFD, maximumBytes: Int = 64 << 20) {
        self.socket = socket
        self.maximumBytes = maximumBytes
    }

    /// The socket's number, to be waited on with poll(2) as long as this object lives.
    public var number: Int32 { socket.raw }

    public func peer() throws(SystemError) -> UnixSocket.Peer { try UnixSocket.peer(socket) }

    /// From now on `receive` and `send` fail with EAGAIN when nothing moves for so long; 0: they wait without end.
    public func limitIdle(receiveSeconds: Int, sendSeconds: Int) throws(SystemError) {
        let raw = socket.raw
        for (option, seconds) in [(SO_RCVTIMEO, receiveSeconds), (SO_SNDTIMEO, sendSeconds)] {
            var time = timeval(tv_sec: seconds, tv_usec: 0)
            try Syscall.check("setsockopt") {
                setsockopt(raw, SOL_SOCKET, option, &time, socklen_t(MemoryLayout<timeval>.size))
            }
        }
    }

    /// The next message; nil when the peer closed between two messages.
    public func receive() throws(SystemError) -> [UInt8]? {
        let head = try socket.readFully(4)
        if head.isEmpty { return nil }
        guard head.count == 4 else { throw SystemError("receive frame", errno: EPIPE) }
        let length = head.reduce(0) { $0 << 8 | Int($1) }
        guard length <= maximumBytes else { throw SystemError("receive frame of \(length) bytes", errno: EMSGSIZE) }
        let body = try socket.readFully(length)
        guard body.count == length else { throw SystemError("receive frame", errno: EPIPE) }
        return body
    }

    public func send(_ body: [UInt8]) throws(SystemError) {
        guard body.count <= maximumBytes else {
            throw SystemError("send frame of \(body.count) bytes", errno: EMSGSIZE)
        }
        let n = UInt32(body.count)
        let head = [UInt8(n >> 24), UInt8(n >> 16 & 255), UInt8(n >> 8 & 255), UInt8(n & 255)]
        // One write for head and body: a reader never waits for the rest of a small message.
        let result: Result<Void, SystemError> = writing.withLock { _ in
            do throws(SystemError) {
                try socket.writeAll(head + body)
                return .success(())
            } catch {
                return .failure(error)
            }
        }
        try result.get()
    }

    /// Wakes a reader that blocks; further use fails.
    public func shutdown() { _ = Glibc.shutdown(socket.raw, Int32(SHUT_RDWR)) }
}
