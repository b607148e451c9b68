import CLibUV
import Domain
import Glibc
import OS

/// One binding's listening socket: takes connections and deals them out to the loops in turn.
final class Listener {
    /// Most connections taken in one turn, so that a flood on one port doesn't starve the flows of this loop.
    private static let burst = 64

    private unowned let worker: Worker
    private let binding: BindingID
    private var handle: PollHandle?
    private var next: Int

    init(worker: Worker, _ descriptor: consuming OwnedFD, _ binding: BindingID) throws(UVError) {
        self.worker = worker
        self.binding = binding
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

    private func accept() {
        let shared = worker.shared
        for _ in 0..<Self.burst {
            guard let handle else { return }
            guard shared.budget.take(2) else {
                worker.pauseListeners("the limit of open files is near")
                return
            }
            let result = slipway_uv_accept(handle.descriptor)
            if result >= 0 {
                let target = next
                next = next + 1 == shared.mailboxes.count ? 0 : next + 1
                if target == worker.number {
                    worker.adopt(result, binding)
                } else if !shared.mailboxes[target].send(.accepted(result, binding)) {
                    Glibc.close(result)
                    shared.budget.give(2)
                }
                continue
            }
            shared.budget.give(2)
            switch -result {
            case EAGAIN: return
            case EMFILE, ENFILE, ENOBUFS, ENOMEM:
                worker.pauseListeners(UVError.text(result))
                return
            default:
                // The connection that was waiting failed (ECONNABORTED and network errors): the next may be fine.
                continue
            }
        }
    }
}
