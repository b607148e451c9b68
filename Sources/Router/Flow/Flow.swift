import CLibUV
import Domain

/// One client's connection and, once there is one, the backend's. Confined to its worker's loop; the worker drives it.
final class Flow {
    enum Phase {
        /// No valid table yet: the router has just started after a reboot.
        case waiting
        case connecting
        /// The host has no descriptor or memory for a connect right now.
        case lacking
        case relaying
    }

    unowned(unsafe) let worker: Worker
    /// Its place in the worker's list, and in the timing wheel.
    let id: Int
    /// Of the binding it came in by; its descriptors are counted there.
    let route: RouteShared
    var phase = Phase.waiting

    /// The accepted descriptor, until a handle takes it over.
    var clientDescriptor: Int32
    var client: UnsafeMutablePointer<uv_tcp_t>?
    var backend: UnsafeMutablePointer<uv_tcp_t>?
    /// Live while a connect is under way.
    var connect: UnsafeMutablePointer<uv_connect_t>?

    var plan: RoutePlan?
    var counters: RouteCounters?
    var target: BackendTarget?
    /// Which of the target's addresses is tried, and how many were before it.
    var address = 0
    var addressesTried = 0
    /// Where round robin, or the client's address, starts for this flow.
    var start = 0
    /// Backends that failed to connect.
    var tried: [InstanceID] = []

    var relay = RelayState()
    /// Bytes that the other side did not take at once, by the side that sent them.
    var waitingFromClient: WaitingBytes?
    var waitingFromBackend: WaitingBytes?

    /// Loop time of the last byte in either direction.
    var lastActivity: UInt64
    /// When the waiting, the connect attempt or the lack is given up.
    var deadline: UInt64 = 0

    init(worker: Worker, id: Int, route: RouteShared, clientDescriptor: Int32, now: UInt64) {
        self.worker = worker
        self.id = id
        self.route = route
        self.clientDescriptor = clientDescriptor
        lastActivity = now
    }
}

/// Why a flow ended. Every flow ends with exactly one.
enum FlowEnding: Int, Sendable, CaseIterable {
    /// Both sides sent their end.
    case completed
    case resetByClient, resetByBackend
    case idle
    /// The binding has no backend.
    case noBackend
    /// Each backend was tried and none answered.
    case connectFailed
    /// The binding is gone.
    case noRoute
    /// No table came in time after a reboot.
    case noTable
    /// The router stops.
    case stopped
    /// The host refused a handle or a socket option.
    case `internal`

    var label: String {
        switch self {
        case .completed: "completed"
        case .resetByClient: "reset_by_client"
        case .resetByBackend: "reset_by_backend"
        case .idle: "idle"
        case .noBackend: "no_backend"
        case .connectFailed: "connect_failed"
        case .noRoute: "no_route"
        case .noTable: "no_table"
        case .stopped: "stopped"
        case .internal: "internal"
        }
    }

    /// Whether the app's owner should hear of it.
    var isTrouble: Bool {
        switch self {
        case .completed, .resetByClient, .stopped: false
        case .resetByBackend, .idle, .noBackend, .connectFailed, .noRoute, .noTable, .internal: true
        }
    }

    /// Whether this side gets a reset: it would take an end for the end of the data, which is cut off.
    func resets(_ side: Side, _ relay: RelayState) -> Bool {
        switch self {
        case .completed: false
        case .resetByClient: side == .backend
        case .resetByBackend, .noBackend, .connectFailed, .noRoute, .noTable: side == .client
        case .idle, .stopped: (side == .client ? relay.fromBackend : relay.fromClient) != .finished
        case .internal: true
        }
    }
}

/// A write request and the bytes it still has to write, in one block that the request's callback frees.
struct WaitingBytes {
    let request: UnsafeMutablePointer<uv_write_t>

    /// Copies the bytes and queues them. Nil with libuv's code if that fails.
    static func queue(
        _ bytes: UnsafeRawPointer, count: Int, on stream: UnsafeMutablePointer<uv_stream_t>, flow: Flow,
        callback: @escaping uv_write_cb
    ) -> Result<WaitingBytes, UVError> {
        let header = (max(MemoryLayout<uv_write_t>.size, uv_req_size(UV_WRITE)) + 15) & ~15
        let block = UnsafeMutableRawPointer.allocate(byteCount: header + count, alignment: 16)
        let request = block.bindMemory(to: uv_write_t.self, capacity: 1)
        block.advanced(by: header).copyMemory(from: bytes, byteCount: count)
        request.pointee.data = Unmanaged.passUnretained(flow).toOpaque()
        var buffer = uv_buf_init(
            block.advanced(by: header).assumingMemoryBound(to: CChar.self), UInt32(count))
        let result = uv_write(request, stream, &buffer, 1, callback)
        if result < 0 {
            block.deallocate()
            return .failure(UVError("uv_write", code: result))
        }
        return .success(WaitingBytes(request: request))
    }

    /// The flow is gone; libuv still calls back, and the block is freed there.
    func orphan() { request.pointee.data = nil }
}
