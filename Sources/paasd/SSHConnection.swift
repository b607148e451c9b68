import Domain
import FoundationEssentials
import Glibc
import OS
import Synchronization

/// A number of places, each given back with the last reference to it.
final class SeatCount: Sendable {
    final class Seat: Sendable {
        private let count: SeatCount
        fileprivate init(_ count: SeatCount) { self.count = count }
        deinit { count.taken.withLock { $0 -= 1 } }
    }

    private let limit: Int
    private let taken = Mutex(0)

    init(limit: Int) { self.limit = limit }

    /// Nil when all are taken.
    func take() -> Seat? {
        let isFree = taken.withLock { taken in
            guard taken < limit else { return false }
            taken += 1
            return true
        }
        return isFree ? Seat(self) : nil
    }
}

/// One program below sshd. Two threads of its own: a client may be silent for as long as its build takes.
final class SSHConnection: Sendable {
    enum Event: Sendable {
        case input([UInt8])
        case endOfInput
    }

    /// How long a program may take to say what it wants.
    private static let callSeconds = 10
    /// How long a client may take nothing of what is sent to it.
    private static let stalledSeconds = 1800

    private let channel: FrameChannel
    private let seat: SeatCount.Seat
    private let reader = BlockingExecutor("ssh-read", width: 1)
    private let writer = BlockingExecutor("ssh-write", width: 1)
    private let moved = Mutex(Monotonic.now())

    init(_ socket: consuming OwnedFD, seat: SeatCount.Seat) {
        channel = FrameChannel(socket, maximumBytes: 1 << 20)
        self.seat = seat
    }

    deinit {
        channel.shutdown()
        reader.close()
        writer.close()
    }

    /// Since when nothing was received or sent, on the monotonic clock.
    var silentSince: Double { moved.withLock { $0 } }

    private func touch() { moved.withLock { $0 = Monotonic.now() } }

    /// Blocks for the first message.
    func call() throws -> SSHCall {
        try channel.limitIdle(receiveSeconds: Self.callSeconds, sendSeconds: Self.callSeconds)
        guard let frame = try channel.receive() else {
            throw PaaSError(.malformed, "a program below sshd went away before its call")
        }
        try channel.limitIdle(receiveSeconds: 0, sendSeconds: Self.stalledSeconds)
        return try JSONDecoder().decode(SSHCall.self, from: Data(frame))
    }

    /// Nil when the client is gone.
    func next() async throws(SystemError) -> Event? {
        let channel = channel
        guard let frame = try await reader.run({ () throws(SystemError) in try channel.receive() }),
            let tag = frame.first
        else { return nil }
        touch()
        return tag == SSHFrame.input ? .input(Array(frame.dropFirst())) : .endOfInput
    }

    func send(_ frame: [UInt8]) async throws(SystemError) {
        let channel = channel
        try await writer.run { () throws(SystemError) in try channel.send(frame) }
        touch()
    }

    func output(_ bytes: [UInt8]) async throws(SystemError) { try await send([SSHFrame.output] + bytes) }

    /// - Parameter text: a line for the client's standard error.
    func say(_ text: String) async throws(SystemError) {
        try await send([SSHFrame.message] + Array((text + "\n").utf8))
    }

    func exit(_ status: Int) async throws(SystemError) { try await send([SSHFrame.exit] + Array("\(status)".utf8)) }

    func close() { channel.shutdown() }
}
