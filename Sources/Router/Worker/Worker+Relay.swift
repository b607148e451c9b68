import CLibUV
import Glibc

/// The packet path: read into the loop's buffer, write on at once, queue only what is left. Nothing here allocates unless
/// a peer is slower than the other.
extension Worker {
    func startReading(_ handle: UnsafeMutablePointer<uv_tcp_t>) -> Bool {
        uv_read_start(stream(handle), onAllocate, onRead) == 0
    }

    private func stream(_ handle: UnsafeMutablePointer<uv_tcp_t>) -> UnsafeMutablePointer<uv_stream_t> {
        UnsafeMutableRawPointer(handle).assumingMemoryBound(to: uv_stream_t.self)
    }

    fileprivate func received(_ flow: Flow, from side: Side, _ count: Int) {
        guard let destination = side == .client ? flow.backend : flow.client else { return }
        guard count > 0 else {
            // 0 is libuv's word for "nothing after all".
            if count < 0 {
                let isEnd = count == Int(UV_EOF.rawValue) && !wasReset(flow, side)
                perform(flow, flow.relay.handle(isEnd ? .ended(from: side) : .failed(side)))
            }
            return
        }
        flow.lastActivity = loop.now
        if let counters = flow.counters {
            if side == .client { counters.bytesIn.increase(count) } else { counters.bytesOut.increase(count) }
        }
        var bytes = uv_buf_t(base: buffer, len: count)
        let result = Int(uv_try_write(stream(destination), &bytes, 1))
        if result == count { return }
        if result < 0 && result != Int(UV_EAGAIN.rawValue) {
            return perform(flow, flow.relay.handle(.refused(by: side.other)))
        }
        let done = max(0, result)
        switch WaitingBytes.queue(
            UnsafeRawPointer(buffer + done), count: count - done, on: stream(destination), flow: flow,
            callback: onWritten)
        {
        case .success(let waiting):
            if side == .client { flow.waitingFromClient = waiting } else { flow.waitingFromBackend = waiting }
            perform(flow, flow.relay.handle(.blocked(from: side)))
        case .failure:
            perform(flow, flow.relay.handle(.refused(by: side.other)))
        }
    }

    fileprivate func written(_ flow: Flow, _ request: UnsafeMutablePointer<uv_write_t>, _ status: Int32) {
        let side: Side = flow.waitingFromClient?.request == request ? .client : .backend
        if side == .client { flow.waitingFromClient = nil } else { flow.waitingFromBackend = nil }
        flow.lastActivity = loop.now
        perform(flow, flow.relay.handle(status < 0 ? .refused(by: side.other) : .drained(from: side)))
    }

    private func perform(_ flow: Flow, _ action: RelayState.Action) {
        switch action {
        case .none: break
        case .stopReading(let side):
            if let handle = side == .client ? flow.client : flow.backend { uv_read_stop(stream(handle)) }
        case .resumeReading(let side):
            if let handle = side == .client ? flow.client : flow.backend, !startReading(handle) {
                finish(flow, side == .client ? .resetByClient : .resetByBackend)
            }
        case .shutdownWriting(let side):
            if let plan = flow.plan { schedule(flow, at: idleDeadline(flow, plan)) }
            shutdownWriting(flow, side)
        case .close: finish(flow, .completed)
        case .reset(let side): finish(flow, side == .client ? .resetByBackend : .resetByClient)
        }
    }

    /// When bytes and a reset come together, libuv reads the bytes and then reports an end.
    private func wasReset(_ flow: Flow, _ side: Side) -> Bool {
        guard let handle = side == .client ? flow.client : flow.backend else { return false }
        var descriptor: Int32 = -1
        let generic = UnsafeMutableRawPointer(handle).assumingMemoryBound(to: uv_handle_t.self)
        guard uv_fileno(generic, &descriptor) == 0 else { return false }
        var error: Int32 = 0
        var length = socklen_t(MemoryLayout<Int32>.size)
        getsockopt(descriptor, SOL_SOCKET, SO_ERROR, &error, &length)
        // EPIPE is a reset that came after a proper end.
        return error != 0 && error != EPIPE
    }

    /// Nothing waits to be written towards this side, so that the end can be sent without going round the loop.
    private func shutdownWriting(_ flow: Flow, _ side: Side) {
        guard let handle = side == .client ? flow.client : flow.backend else { return }
        var descriptor: Int32 = -1
        let generic = UnsafeMutableRawPointer(handle).assumingMemoryBound(to: uv_handle_t.self)
        guard uv_fileno(generic, &descriptor) == 0, shutdown(descriptor, Int32(SHUT_WR)) == 0 else {
            return perform(flow, flow.relay.handle(.refused(by: side)))
        }
    }
}

private let onAllocate: uv_alloc_cb = { handle, _, result in
    guard let handle, let result, let data = handle.pointee.loop.pointee.data else { return }
    Unmanaged<Worker>.fromOpaque(data)._withUnsafeGuaranteedRef { worker in
        result.pointee = uv_buf_t(base: worker.buffer, len: Worker.bufferSize)
    }
}

private let onRead: uv_read_cb = { stream, count, _ in
    guard let stream, let data = stream.pointee.data else { return }
    // SAFETY: a flow takes itself out of its handles' data before its worker lets go of it. It may do so during this
    // call, which is why the flow is retained for its length.
    let flow = Unmanaged<Flow>.fromOpaque(data).takeUnretainedValue()
    let isClient = flow.client.map { UnsafeMutableRawPointer($0) == UnsafeMutableRawPointer(stream) } ?? false
    flow.worker.received(flow, from: isClient ? .client : .backend, count)
}

private let onWritten: uv_write_cb = { request, status in
    guard let request else { return }
    let data = request.pointee.data
    if let data {
        let flow = Unmanaged<Flow>.fromOpaque(data).takeUnretainedValue()
        flow.worker.written(flow, request, status)
    }
    UnsafeMutableRawPointer(request).deallocate()
}
