import CLibUV
import Glibc
import OS

/// A `uv_poll_t` over a descriptor that it owns: listeners, and the few connections of the control side.
/// Keeps itself alive until it is closed.
final class PollHandle {
    struct Events: OptionSet {
        let rawValue: Int32
        static let readable = Events(rawValue: Int32(UV_READABLE.rawValue))
        static let writable = Events(rawValue: Int32(UV_WRITABLE.rawValue))
    }

    let descriptor: Int32
    private let raw: UnsafeMutablePointer<uv_poll_t>
    private var body: ((Events) -> Void)?
    private var watched: Events = []
    private(set) var isClosed = false

    /// The body gets what the descriptor is ready for; after an error of the descriptor, all it was watched for, so that
    /// the next call on it tells the reason.
    init(loop: UVLoop, _ descriptor: consuming OwnedFD, _ body: @escaping (Events) -> Void) throws(UVError) {
        raw = UVMemory.handle(UV_POLL)
        let result = uv_poll_init(loop.raw, raw, descriptor.raw)
        if result < 0 {
            raw.deallocate()
            throw UVError("uv_poll_init", code: result)
        }
        self.descriptor = descriptor.release()
        self.body = body
        raw.pointee.data = Unmanaged.passRetained(self).toOpaque()
    }

    /// Watches for these events and no others; none at all stops it.
    func watch(_ events: Events) {
        guard !isClosed, events != watched else { return }
        watched = events
        if events.isEmpty {
            uv_poll_stop(raw)
            return
        }
        let result = uv_poll_start(raw, events.rawValue) { handle, status, events in
            guard let data = handle?.pointee.data else { return }
            let owner = Unmanaged<PollHandle>.fromOpaque(data).takeUnretainedValue()
            owner.ready(status < 0 ? owner.watched : Events(rawValue: events), stopped: status < 0)
        }
        precondition(result == 0, "uv_poll_start on a descriptor of ours: \(UVError.text(result))")
    }

    private func ready(_ events: Events, stopped: Bool) {
        // libuv stops watching a descriptor that has an error.
        if stopped { watched = [] }
        body?(events)
    }

    /// Closes the descriptor too.
    func close() {
        guard !isClosed else { return }
        isClosed = true
        body = nil
        uv_close(UnsafeMutableRawPointer(raw).assumingMemoryBound(to: uv_handle_t.self)) { handle in
            guard let data = handle?.pointee.data else { return }
            let owner = Unmanaged<PollHandle>.fromOpaque(data).takeRetainedValue()
            owner.raw.deallocate()
        }
        Glibc.close(descriptor)
    }
}
