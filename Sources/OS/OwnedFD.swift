import CShim
import Glibc

/// A file descriptor with one owner, closed when the owner goes.
public struct OwnedFD: ~Copyable, Sendable {
    public let raw: Int32

    public init(_ raw: Int32) {
        precondition(raw >= 0, "not a descriptor")
        self.raw = raw
    }

    deinit { Glibc.close(raw) }

    /// Gives the descriptor away; the caller closes it.
    public consuming func release() -> Int32 {
        let value = raw
        discard self
        return value
    }

    public borrowing func duplicate() throws(SystemError) -> OwnedFD {
        let raw = raw
        return OwnedFD(try Syscall.check("dup") { fcntl(raw, F_DUPFD_CLOEXEC, 3) })
    }

    /// At most `count` bytes; empty at the end.
    public borrowing func read(upTo count: Int) throws(SystemError) -> [UInt8] {
        let raw = raw
        var buffer = [UInt8](repeating: 0, count: count)
        let n = try Syscall.check("read") { Glibc.read(raw, &buffer, count) }
        buffer.removeLast(count - n)
        return buffer
    }

    /// Exactly `count` bytes, or fewer at the end of the file.
    public borrowing func readFully(_ count: Int) throws(SystemError) -> [UInt8] {
        let raw = raw
        // In steps: `count` is often a generous limit, and the file is small.
        var bytes: [UInt8] = []
        var part = [UInt8](repeating: 0, count: min(count, 65_536))
        while bytes.count < count {
            let wanted = min(part.count, count - bytes.count)
            let n = try Syscall.check("read") { Glibc.read(raw, &part, wanted) }
            if n == 0 { break }
            bytes.append(contentsOf: part[..<n])
        }
        return bytes
    }

    public borrowing func writeAll(_ bytes: some Collection<UInt8>) throws(SystemError) {
        let raw = raw
        let array = Array(bytes)
        var done = 0
        while done < array.count {
            done += try Syscall.check("write") {
                array.withUnsafeBytes { Glibc.write(raw, $0.baseAddress.map { $0 + done }, array.count - done) }
            }
        }
    }

    public borrowing func sync() throws(SystemError) {
        let raw = raw
        try Syscall.check("fsync") { fsync(raw) }
    }

    /// Opens with O_CLOEXEC.
    public static func open(_ path: String, _ flags: Int32, mode: mode_t = 0o600) throws(SystemError) -> OwnedFD {
        OwnedFD(try Syscall.check("open \(path)") { Glibc.open(path, flags | O_CLOEXEC, mode) })
    }
}

/// A pipe, both ends close-on-exec.
public struct Pipe: ~Copyable, Sendable {
    public let readEnd: OwnedFD
    public let writeEnd: OwnedFD

    public init() throws(SystemError) {
        var ends: [Int32] = [-1, -1]
        try Syscall.shim("pipe", slipway_pipe(&ends))
        readEnd = OwnedFD(ends[0])
        writeEnd = OwnedFD(ends[1])
    }
}
