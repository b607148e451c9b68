import CLibUV

/// One libuv loop. Confined to the thread that runs it; not Sendable on purpose.
final class UVLoop {
    let raw: UnsafeMutablePointer<uv_loop_t>

    init() throws(UVError) {
        raw = UVMemory.loop()
        let result = uv_loop_init(raw)
        if result < 0 {
            raw.deallocate()
            throw UVError("uv_loop_init", code: result)
        }
        raw.pointee.data = nil
    }

    /// Milliseconds on the monotonic clock, as of the start of this turn of the loop. The same base in all loops.
    var now: UInt64 { uv_now(raw) }

    /// Runs until every handle is closed.
    func run() { uv_run(raw, UV_RUN_DEFAULT) }

    /// Frees the loop. A handle that is still open then would be a use after free later, so it ends the program.
    func close() {
        let result = uv_loop_close(raw)
        precondition(result == 0, "a handle outlived its loop")
        raw.deallocate()
    }
}
