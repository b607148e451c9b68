import CLibUV

/// Memory for libuv's structures. A newer libuv than the one that this was built with may want more of it, and would write
/// past the end.
enum UVMemory {
    static func loop() -> UnsafeMutablePointer<uv_loop_t> { allocate(uv_loop_size()) }

    static func handle<Handle>(_ type: uv_handle_type) -> UnsafeMutablePointer<Handle> {
        allocate(uv_handle_size(type))
    }

    static func request<Request>(_ type: uv_req_type) -> UnsafeMutablePointer<Request> { allocate(uv_req_size(type)) }

    private static func allocate<Structure>(_ wanted: Int) -> UnsafeMutablePointer<Structure> {
        UnsafeMutableRawPointer.allocate(byteCount: max(MemoryLayout<Structure>.size, wanted), alignment: 16)
            .bindMemory(to: Structure.self, capacity: 1)
    }
}
