import CLibUV
import Glibc

/// Sockets that will be reset once the peer has all that was written to it: a reset throws away what the kernel has not
/// sent yet, and a server that answers and then resets meant its answer to arrive.
final class PendingResets {
    private static let patience: UInt64 = 2000
    private static let interval: UInt64 = 20

    private let loop: UVLoop
    private var sockets: [(descriptor: Int32, deadline: UInt64)] = []
    private var timer: LoopTimer?

    init(loop: UVLoop) {
        self.loop = loop
        timer = LoopTimer(loop: loop) { [unowned self] in look() }
    }

    /// Takes over the descriptor.
    func add(_ descriptor: Int32) {
        sockets.append((descriptor, loop.now + Self.patience))
        if let timer, !timer.isActive { timer.start(after: Self.interval, every: Self.interval) }
    }

    private func look() {
        let now = loop.now
        sockets.removeAll { socket in
            guard now >= socket.deadline || slipway_uv_unacknowledged(socket.descriptor) == 0 else { return false }
            Self.reset(socket.descriptor)
            return true
        }
        if sockets.isEmpty { timer?.stop() }
    }

    func close() {
        for socket in sockets { Self.reset(socket.descriptor) }
        sockets = []
        timer?.close()
    }

    static func reset(_ descriptor: Int32) {
        slipway_uv_reset_on_close(descriptor)
        Glibc.close(descriptor)
    }
}
