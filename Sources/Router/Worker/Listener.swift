import CLibUV
import Domain
import Glibc
import OS

/// One binding's listening socket: takes connections and deals them out to the loops in turn.
final class Listener {
    /// Most connections taken in one turn, so that a flood on one port doesn't starve the flows of this loop.
    private static let burst = 64

    private unowned let worker: Worker
    private let route: RouteShared
    private var handle: PollHandle?
    private var next: Int

    init(worker: Worker, _ descriptor: consuming OwnedFD, _ route: RouteShared) throws(UVError) {
        self.worker = worker
        self.route = route
        next = worker.number
        let poll = try PollHandle(loop: worker.loop, descriptor) { [unowned self] _ in accept() }
        handle = poll
        poll.watch(.readable)
    }

    func pause() { handle?.watch([]) }
    func resume() { handle?.watch(.readable) }

    func close() {
        handle?.close()
        handle = nil
    }

    /// Takes a burst of connections. Returns whether more may be waiting.
    @discardableResult
    func accept() -> Bool {
        let shared = worker.shared
        var took = false
        for _ in 0..<Self.burst {
            guard let handle else { return false }
            guard shared.budget.take(2, for: route) else {
                worker.pause(self, route, "the limit of open files is near")
                return false
            }
            let result = slipway_uv_accept(handle.descriptor)
            if result >= 0 {
                took = true
                let target = next
                next = next + 1 == shared.mailboxes.count ? 0 : next + 1
                if target == worker.number {
                    worker.adopt(result, route)
                } else if !shared.mailboxes[target].send(.accepted(result, route)) {
                    worker.turnAway(result, route)
                }
                continue
            }
            shared.budget.give(2, for: route)
            switch -result {
            case EAGAIN: return false
            case EMFILE, ENFILE, ENOBUFS, ENOMEM:
                worker.pause(self, route, UVError.text(result))
                return false
            default:
                // The connection that was waiting failed (ECONNABORTED and network errors): the next may be fine.
                continue
            }
        }
        return took
    }
}
