import Domain
import Glibc
import OS
import Synchronization

/// What comes from git's client, into the standard input of git.
final class InputFeed: Sendable {
    /// How much is taken between two looks at the disk.
    private static let lookBytes = 16 << 20

    private let target: Mutex<Int32?>
    private let channel: FrameChannel
    private let limits: GitLimits
    /// Throws when no more may be taken.
    private let look: @Sendable () throws(PaaSError) -> Void

    init(
        _ target: consuming OwnedFD, from channel: FrameChannel, limits: GitLimits,
        look: @escaping @Sendable () throws(PaaSError) -> Void
    ) {
        self.target = Mutex(target.release())
        self.channel = channel
        self.limits = limits
        self.look = look
    }

    deinit { close() }

    private func close() {
        target.withLock { fd in
            if let open = fd { Glibc.close(open) }
            fd = nil
        }
    }

    /// Runs until the peer is gone, then calls `lost`; with an error if the peer may be told why.
    /// - Parameters:
    ///   - first: input that was read already.
    ///   - ended: nothing follows it.
    func pump(first: [UInt8], ended: Bool, lost: (PaaSError?) -> Void) {
        defer { close() }
        var sinceLook = 0
        var taken = Int64(first.count)
        do throws(PaaSError) {
            write(first[...])
            if ended { try end() }
            while let frame = try Self.next(channel), let tag = frame.first {
                if tag == GitFrame.endOfInput {
                    try end()
                } else if tag == GitFrame.input {
                    taken += Int64(frame.count - 1)
                    guard taken <= limits.pushBytes else { throw limits.tooLarge }
                    sinceLook += frame.count
                    if sinceLook >= Self.lookBytes {
                        try look()
                        sinceLook = 0
                    }
                    write(frame.dropFirst())
                }
            }
            lost(nil)
        } catch {
            lost(error)
        }
    }

    /// The next frame; nil when the peer is gone.
    static func next(_ channel: FrameChannel) throws(PaaSError) -> [UInt8]? {
        do throws(SystemError) {
            return try channel.receive()
        } catch {
            guard error.errno == EAGAIN else { return nil }
            throw PaaSError(
                .timeout, "git sent nothing for too long in the middle of its request; try again",
                source: .client)
        }
    }

    /// From here on the client has nothing to say, however long its push takes, and may be held up with the reply.
    private func end() throws(PaaSError) {
        close()
        do throws(SystemError) {
            try channel.limitIdle(receiveSeconds: 0, sendSeconds: limits.replyIdleSeconds)
        } catch {
            throw error.asPaaSError("the connection of a push can't be set up; push again")
        }
    }

    /// Only the pumping thread writes and closes. A program that ended before it read all is seen by its exit status.
    private func write(_ bytes: ArraySlice<UInt8>) {
        guard let fd = target.withLock({ $0 }) else { return }
        var rest = bytes
        while !rest.isEmpty {
            let n = rest.withUnsafeBytes { Glibc.write(fd, $0.baseAddress, $0.count) }
            if n < 0 && errno == EINTR { continue }
            guard n > 0 else { return close() }
            rest = rest.dropFirst(n)
        }
    }
}

/// The last two kilobytes of what a program wrote to its standard error.
struct OutputTail {
    private var kept: [UInt8] = []

    var text: String { String(decoding: kept, as: UTF8.self) }

    mutating func append(_ part: [UInt8]) {
        kept += part
        if kept.count > 2048 { kept.removeFirst(kept.count - 2048) }
    }
}
