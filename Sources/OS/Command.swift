import CShim
import Glibc

/// A short command: run, bounded in time and output, with what it printed.
public struct Command: Sendable {
    public struct Result: Sendable {
        public var status: Int32
        public var output: [UInt8]
        public var errorOutput: [UInt8]
        /// It was ended because it ran too long.
        public var timedOut: Bool
        /// It was ended because nobody was there any more for whom it ran.
        public var isUnwanted = false
        public var text: String { String(decoding: output, as: UTF8.self) }
        public var errorText: String { String(decoding: errorOutput, as: UTF8.self) }
    }

    public var spec: ProcessSpec
    public var timeoutSeconds: Int
    public var outputLimit: Int

    public init(_ spec: ProcessSpec, timeoutSeconds: Int = 30, outputLimit: Int = 4 << 20) {
        self.spec = spec
        self.timeoutSeconds = timeoutSeconds
        self.outputLimit = outputLimit
    }

    /// POLLRDHUP, which Swift's Glibc module leaves out.
    private static let hungUp: Int16 = 0x2000

    /// Blocks. Output above the limit is thrown away.
    /// - Parameter socket: for whose other end it runs: the command is ended once that has gone. Nil: to its end.
    public func run(input: [UInt8] = [], whileConnected socket: Int32? = nil) throws(SystemError) -> Result {
        let toChild = try Pipe(), fromChild = try Pipe(), errors = try Pipe()
        let outRead = try fromChild.readEnd.duplicate()
        let errRead = try errors.readEnd.duplicate()
        var writing: Int32? = try toChild.writeEnd.duplicate().release()
        defer { if let fd = writing { Glibc.close(fd) } }
        let child = try ChildProcess.spawn(
            spec, descriptors: [toChild.readEnd.raw, fromChild.writeEnd.raw, errors.writeEnd.raw])
        _ = consume toChild
        _ = consume fromChild
        _ = consume errors
        var result = Result(status: -1, output: [], errorOutput: [], timedOut: false)
        do throws(SystemError) {
            try exchange(input, &writing, outRead, errRead, socket, &result)
            if result.timedOut || result.isUnwanted { try child.signal(SIGKILL) }
        } catch {
            throw child.abandon(error)
        }
        result.status = try child.wait()
        return result
    }

    /// Writes the input and reads what is printed, until both ends are closed or the time is over.
    private func exchange(
        _ input: [UInt8], _ writing: inout Int32?, _ outRead: borrowing OwnedFD, _ errRead: borrowing OwnedFD,
        _ socket: Int32?, _ result: inout Result
    ) throws(SystemError) {
        var sent = 0
        if input.isEmpty, let fd = writing {
            Glibc.close(fd)
            writing = nil
        } else if let fd = writing {
            _ = fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK)
        }
        var open = [true, true]
        let deadline = Monotonic.now() + Double(timeoutSeconds)
        while open[0] || open[1] || writing != nil {
            let left = deadline - Monotonic.now()
            if left <= 0 {
                result.timedOut = true
                return
            }
            var polls: [pollfd] = []
            if open[0] { polls.append(pollfd(fd: outRead.raw, events: Int16(POLLIN), revents: 0)) }
            if open[1] { polls.append(pollfd(fd: errRead.raw, events: Int16(POLLIN), revents: 0)) }
            if let fd = writing { polls.append(pollfd(fd: fd, events: Int16(POLLOUT), revents: 0)) }
            if let socket { polls.append(pollfd(fd: socket, events: Self.hungUp, revents: 0)) }
            let count = nfds_t(polls.count)
            try Syscall.check("poll") { poll(&polls, count, Int32(min(left * 1000, 60_000)) + 1) }
            for ready in polls where ready.revents != 0 {
                if ready.fd == socket {
                    result.isUnwanted = true
                    return
                } else if ready.fd == writing {
                    let n = input.withUnsafeBytes {
                        Glibc.write(ready.fd, $0.baseAddress.map { $0 + sent }, input.count - sent)
                    }
                    if n > 0 { sent += n }
                    if sent == input.count || (n < 0 && errno != EAGAIN && errno != EINTR) {
                        Glibc.close(ready.fd)
                        writing = nil
                    }
                } else if ready.fd == outRead.raw {
                    open[0] = try Self.take(outRead, &result.output, outputLimit)
                } else {
                    open[1] = try Self.take(errRead, &result.errorOutput, outputLimit)
                }
            }
        }
    }

    private static func take(_ fd: borrowing OwnedFD, _ into: inout [UInt8], _ limit: Int) throws(SystemError) -> Bool {
        let part = try fd.read(upTo: 65_536)
        into.append(contentsOf: part.prefix(max(0, limit - into.count)))
        return !part.isEmpty
    }
}

public enum Monotonic {
    /// Seconds on CLOCK_MONOTONIC.
    public static func now() -> Double {
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        return Double(time.tv_sec) + Double(time.tv_nsec) / 1e9
    }
}
