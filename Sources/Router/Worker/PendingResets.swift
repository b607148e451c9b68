import CLibUV
import Glibc

/// Sockets that will be reset once the peer has all that was written to it: a reset throws away what the kernel has not
/// sent yet, and a server that answers and then resets meant its answer to arrive.
final class PendingResets {
    private static let patience: UInt64 = 2000
    private static let interval: UInt64 = 20

    private let loop: UVLoop
    private let budget: DescriptorBudget
    private var sockets: [(descriptor: Int32, route: RouteShared, deadline: UInt64)] = []
    private var timer: LoopTimer?

    init(loop: UVLoop, budget: DescriptorBudget) {
        self.loop = loop
        self.budget = budget
        timer = LoopTimer(loop: loop) { [unowned self] in look() }
    }

    /// Takes over the descriptor, and one of the budget, which the binding's flow held.
    func add(_ descriptor: Int32, _ route: RouteShared) {
        sockets.append((descriptor, route, loop.now + Self.patience))
        if let timer, !timer.isActive { timer.start(after: Self.interval, every: Self.interval) }
    }

    private func look() {
        let now = loop.now
        sockets.removeAll { socket in
            guard now >= socket.deadline || slipway_uv_unacknowledged(socket.descriptor) == 0 else { return false }
            reset(socket.descriptor, socket.route)
            return true
        }
        if sockets.isEmpty { timer?.stop() }
    }

    func close() {
        for socket in sockets { reset(socket.descriptor, socket.route) }
        sockets = []
        timer?.close()
    }

    private func reset(_ descriptor: Int32, _ route: RouteShared) {
        slipway_uv_reset_on_close(descriptor)
        Glibc.close(descriptor)
        budget.give(1, for: route)
    }
}
