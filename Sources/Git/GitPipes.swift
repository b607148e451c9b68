import Glibc
import OS
import Synchronization

/// What comes from the pusher, into the standard input of git.
final class InputFeed: Sendable {
    private let target: Mutex<Int32?>
    private let first: [UInt8]
    private let ended: Bool

    /// - Parameters:
    ///   - first: input that was read already.
    ///   - ended: nothing follows it.
    init(_ target: consuming OwnedFD, first: [UInt8], ended: Bool) {
        self.target = Mutex(target.release())
        self.first = first
        self.ended = ended
    }

    deinit { close() }

    private func close() {
        target.withLock { fd in
            if let open = fd { Glibc.close(open) }
            fd = nil
        }
    }

    /// Runs until the peer said that its input ended, or is gone (then `lost` is called).
    func pump(from channel: FrameChannel, lost: () -> Void) {
        if let fd = target.withLock({ $0 }) {
            do { try write(fd, first[...]) } catch { close() }
        }
        if ended { close() }
        while true {
            let frame: [UInt8]?
            do { frame = try channel.receive() } catch { frame = nil }
            guard let frame, let tag = frame.first else {
                close()
                return lost()
            }
            if tag == GitFrame.endOfInput {
                close()
            } else if tag == GitFrame.input, let fd = target.withLock({ $0 }) {
                // Only this thread writes and closes. A program that ended before it read all is seen by its exit status.
                do { try write(fd, frame.dropFirst()) } catch { close() }
            }
        }
    }

    private func write(_ fd: Int32, _ bytes: ArraySlice<UInt8>) throws(SystemError) {
        var rest = bytes
        while !rest.isEmpty {
            let n = try Syscall.check("write to git") {
                rest.withUnsafeBytes { Glibc.write(fd, $0.baseAddress, $0.count) }
            }
            rest = rest.dropFirst(n)
        }
    }
}

/// The last two kilobytes of what a program wrote to its standard error.
final class OutputTail: Sendable {
    private let kept = Mutex<[UInt8]>([])

    var text: String { kept.withLock { String(decoding: $0, as: UTF8.self) } }

    func drain(_ source: borrowing OwnedFD) {
        while let part = try? source.read(upTo: 4096), !part.isEmpty {
            kept.withLock { kept in
                kept.append(contentsOf: part)
                if kept.count > 2048 { kept.removeFirst(kept.count - 2048) }
            }
        }
    }
}
