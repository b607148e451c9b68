import CLibUV

/// A `uv_timer_t` for the control side and for sweeps. Keeps itself alive until it is closed.
final class LoopTimer {
    private let raw: UnsafeMutablePointer<uv_timer_t>
    private var body: (() -> Void)?
    private(set) var isClosed = false

    init(loop: UVLoop, _ body: @escaping () -> Void) {
        raw = UVMemory.handle(UV_TIMER)
        self.body = body
        let result = uv_timer_init(loop.raw, raw)
        precondition(result == 0, "uv_timer_init can't fail")
        raw.pointee.data = Unmanaged.passRetained(self).toOpaque()
    }

    var isActive: Bool {
        !isClosed && uv_is_active(UnsafeMutableRawPointer(raw).assumingMemoryBound(to: uv_handle_t.self)) != 0
    }

    /// Calls the body after `after` milliseconds, then every `every` milliseconds if that is not 0.
    func start(after: UInt64, every: UInt64 = 0) {
        guard !isClosed else { return }
        uv_timer_start(
            raw,
            { timer in
                guard let data = timer?.pointee.data else { return }
                Unmanaged<LoopTimer>.fromOpaque(data).takeUnretainedValue().body?()
            }, after, every)
    }

    func stop() {
        if !isClosed { uv_timer_stop(raw) }
    }

    func close() {
        guard !isClosed else { return }
        isClosed = true
        body = nil
        uv_close(UnsafeMutableRawPointer(raw).assumingMemoryBound(to: uv_handle_t.self)) { handle in
            guard let data = handle?.pointee.data else { return }
            let owner = Unmanaged<LoopTimer>.fromOpaque(data).takeRetainedValue()
            owner.raw.deallocate()
        }
    }
}
