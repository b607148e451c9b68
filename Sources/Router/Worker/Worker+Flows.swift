import CLibUV
import Domain
import Glibc
import Synchronization

/// The life of a flow before and after its relay: choosing and connecting a backend, and the one exit.
extension Worker {
    /// Takes over an accepted descriptor and two descriptors of the budget.
    func adopt(_ descriptor: Int32, _ route: RouteShared) {
        guard !isStopping else { return turnAway(descriptor, route) }
        let id: Int
        if let free = freeFlows.popLast() {
            id = free
        } else {
            id = flows.count
            flows.append(nil)
        }
        let flow = Flow(worker: self, id: id, route: route, clientDescriptor: descriptor, now: loop.now)
        flows[id] = flow
        if isValid {
            begin(flow)
        } else {
            flow.deadline = loop.now + shared.tableWait
            schedule(flow, at: flow.deadline)
        }
    }

    /// Nobody will serve it: the client must not take that for an empty answer.
    func turnAway(_ descriptor: Int32, _ route: RouteShared) {
        slipway_uv_reset_on_close(descriptor)
        Glibc.close(descriptor)
        shared.budget.give(2, for: route)
    }

    func begin(_ flow: Flow) {
        guard let plan = routes[flow.route.binding] else { return finish(flow, .noRoute) }
        flow.plan = plan
        let counters = plan.shared.counters[number]
        flow.counters = counters
        counters.flows.increase(1)
        counters.active.increase(1)
        flow.start =
            switch plan.affinity {
            case .none: plan.shared.turn.wrappingAdd(1, ordering: .relaxed).oldValue
            case .source: Int(bitPattern: UInt(SocketAddress.peerHash(flow.clientDescriptor)))
            }
        connectNext(flow)
    }

    /// Tries backends of the table that is in force now, each once, until one connect is under way. The plan is looked up
    /// anew each time: a backend that left the table since the flow began must not be tried.
    func connectNext(_ flow: Flow) {
        while true {
            guard let plan = routes[flow.route.binding] else { return finish(flow, .noRoute) }
            flow.plan = plan
            guard let target = choose(plan, flow) else {
                return finish(flow, flow.tried.isEmpty ? .noBackend : .connectFailed)
            }
            if !flow.tried.isEmpty && flow.phase != .lacking { flow.counters?.retries.increase(1) }
            flow.target = target
            flow.address = target.firstAddress
            flow.addressesTried = 0
            target.flows.active.wrappingAdd(1, ordering: .relaxed)
            let result = startConnect(flow, target)
            if result >= 0 {
                flow.phase = .connecting
                flow.deadline = loop.now + plan.connectMilliseconds
                schedule(flow, at: flow.deadline)
                return
            }
            if Self.isLack(result) { return lacks(flow, plan) }
            noteFailure(flow, result)
        }
    }

    /// What this host lacks for a moment says nothing about the backend, and none else would be better off.
    private static func isLack(_ status: Int32) -> Bool { [EMFILE, ENFILE, ENOBUFS, ENOMEM].contains(-status) }

    /// Waits a little, for as long as a connect may take.
    private func lacks(_ flow: Flow, _ plan: RoutePlan) {
        abandonTarget(flow)
        if flow.phase != .lacking {
            flow.phase = .lacking
            flow.deadline = loop.now + plan.connectMilliseconds
        }
        schedule(flow, at: min(flow.deadline, loop.now + 100))
    }

    private func choose(_ plan: RoutePlan, _ flow: Flow) -> BackendTarget? {
        let now = loop.now
        let backends = plan.backends
        let isTried = { (i: Int) in !flow.tried.isEmpty && flow.tried.contains(backends[i].instance) }
        let isSkipped = { (i: Int) in backends[i].health.isSkipped(now: now) }
        let index =
            switch plan.affinity {
            case .none:
                BackendSelection.next(
                    count: backends.count, start: flow.start, isTried: isTried, isSkipped: isSkipped)
            case .source:
                BackendSelection.highest(
                    count: backends.count,
                    rank: { BackendSelection.rank(UInt64(UInt(bitPattern: flow.start)), backends[$0].hash) },
                    isTried: isTried, isSkipped: isSkipped)
            }
        return index.map { backends[$0] }
    }

    /// Tries the target's addresses from the present one on, until one connect is under way.
    private func startConnect(_ flow: Flow, _ target: BackendTarget) -> Int32 {
        while true {
            let result = startConnect(flow, to: target.addresses[flow.address])
            if result >= 0 || !turnToOtherAddress(flow, target, result) { return result }
        }
    }

    private func startConnect(_ flow: Flow, to address: SocketAddress) -> Int32 {
        let handle = freeHandles.popLast() ?? UVMemory.handle(UV_TCP)
        var result = uv_tcp_init(loop.raw, handle)
        if result < 0 {
            freeHandles.append(handle)
            return result
        }
        handle.pointee.data = Unmanaged.passUnretained(flow).toOpaque()
        flow.backend = handle
        let request: UnsafeMutablePointer<uv_connect_t> = UVMemory.request(UV_CONNECT)
        request.pointee.data = Unmanaged.passUnretained(flow).toOpaque()
        result = address.withPointer { address, _ in uv_tcp_connect(request, handle, address, onConnected) }
        if result < 0 { request.deallocate() } else { flow.connect = request }
        return result
    }

    /// A server that listens on one of its addresses only refuses at the other. False if there is no other to try.
    private func turnToOtherAddress(_ flow: Flow, _ target: BackendTarget, _ status: Int32) -> Bool {
        guard [ECONNREFUSED, EHOSTUNREACH, ENETUNREACH].contains(-status),
            flow.addressesTried + 1 < target.addresses.count
        else { return false }
        abandonConnect(flow)
        flow.addressesTried += 1
        flow.address = (flow.address + 1) % target.addresses.count
        return true
    }

    fileprivate func connected(_ flow: Flow, _ status: Int32) {
        flow.connect = nil
        guard status < 0 else {
            flow.target?.health.succeeded(address: flow.address)
            return startRelay(flow)
        }
        guard let target = flow.target, turnToOtherAddress(flow, target, status) else {
            return attemptFailed(flow, status)
        }
        let result = startConnect(flow, target)
        if result < 0 { attemptFailed(flow, result) }
    }

    func attemptFailed(_ flow: Flow, _ status: Int32) {
        if Self.isLack(status), let plan = flow.plan { return lacks(flow, plan) }
        noteFailure(flow, status)
        connectNext(flow)
    }

    private func noteFailure(_ flow: Flow, _ status: Int32) {
        guard let target = abandonTarget(flow) else { return }
        flow.tried.append(target.instance)
        flow.counters?.connectFailures.increase(1)
        flow.route.lastConnectError.withLock { $0 = (target.name, status) }
        // Without a free local port the backend is not to blame.
        if -status != EADDRNOTAVAIL { target.health.skip(until: loop.now + shared.skipTime) }
    }

    @discardableResult
    private func abandonTarget(_ flow: Flow) -> BackendTarget? {
        abandonConnect(flow)
        guard let target = flow.target else { return nil }
        flow.target = nil
        target.flows.active.wrappingSubtract(1, ordering: .relaxed)
        return target
    }

    private func abandonConnect(_ flow: Flow) {
        flow.connect?.pointee.data = nil
        flow.connect = nil
        if let backend = flow.backend {
            _ = close(backend, reset: nil)
            flow.backend = nil
        }
    }

    private func startRelay(_ flow: Flow) {
        guard let backend = flow.backend, let plan = flow.plan else { return finish(flow, .internal) }
        let client = freeHandles.popLast() ?? UVMemory.handle(UV_TCP)
        guard uv_tcp_init(loop.raw, client) == 0 else {
            freeHandles.append(client)
            return finish(flow, .internal)
        }
        client.pointee.data = Unmanaged.passUnretained(flow).toOpaque()
        flow.client = client
        guard uv_tcp_open(client, flow.clientDescriptor) == 0 else { return finish(flow, .internal) }
        flow.clientDescriptor = -1
        flow.phase = .relaying
        flow.lastActivity = loop.now
        // These two fail only if the peer is gone already, which the first read tells.
        uv_tcp_nodelay(backend, 1)
        uv_tcp_keepalive(backend, 1, ListeningSocket.keepaliveSeconds)
        schedule(flow, at: idleDeadline(flow, plan))
        guard startReading(client) && startReading(backend) else { return finish(flow, .internal) }
    }

    /// The one exit: everything that a flow held or counted is given back here, and here alone.
    func finish(_ flow: Flow, _ ending: FlowEnding) {
        guard flows[flow.id] === flow else { return }
        wheel.cancel(flow.id)
        flow.waitingFromClient?.orphan()
        flow.waitingFromBackend?.orphan()
        flow.connect?.pointee.data = nil
        var kept = 0
        let resetsClient = ending.resets(.client, flow.relay)
        if let client = flow.client, close(client, reset: resetsClient ? flow.route : nil) { kept += 1 }
        if flow.clientDescriptor >= 0 {
            if resetsClient { slipway_uv_reset_on_close(flow.clientDescriptor) }
            Glibc.close(flow.clientDescriptor)
            flow.clientDescriptor = -1
        }
        let resetsBackend = ending.resets(.backend, flow.relay)
        if let backend = flow.backend, close(backend, reset: resetsBackend ? flow.route : nil) { kept += 1 }
        flow.counters?.active.increase(-1)
        flow.target?.flows.active.wrappingSubtract(1, ordering: .relaxed)
        shared.endings[ending.rawValue].value.wrappingAdd(1, ordering: .relaxed)
        flow.route.endings[ending.rawValue].value.wrappingAdd(1, ordering: .relaxed)
        shared.budget.give(2 - kept, for: flow.route)
        flows[flow.id] = nil
        freeFlows.append(flow.id)
    }

    /// Keeps some handles for the next flows.
    fileprivate func recycle(_ handle: UnsafeMutablePointer<uv_tcp_t>) {
        if freeHandles.count < Self.keptHandles { freeHandles.append(handle) } else { handle.deallocate() }
    }

    /// Closes the socket at once; the handle's memory comes back when libuv has let go of it.
    /// - Parameter reset: the binding whose flow ends with a reset; nil: with an end.
    /// - Returns: whether one descriptor stays in use until the reset is sent, which gives it back.
    private func close(_ handle: UnsafeMutablePointer<uv_tcp_t>, reset: RouteShared?) -> Bool {
        handle.pointee.data = nil
        var isKept = false
        if let reset {
            var descriptor: Int32 = -1
            let generic = UnsafeMutableRawPointer(handle).assumingMemoryBound(to: uv_handle_t.self)
            if uv_fileno(generic, &descriptor) == 0 {
                let copy = slipway_uv_unacknowledged(descriptor) > 0 ? fcntl(descriptor, F_DUPFD_CLOEXEC, 3) : -1
                isKept = copy >= 0
                if isKept { resets.add(copy, reset) } else { slipway_uv_reset_on_close(descriptor) }
            }
        }
        uv_close(UnsafeMutableRawPointer(handle).assumingMemoryBound(to: uv_handle_t.self), onClosed)
        return isKept
    }
}

private let onConnected: uv_connect_cb = { request, status in
    guard let request else { return }
    let data = request.pointee.data
    request.deallocate()
    // Without data the attempt was given up.
    guard let data else { return }
    let flow = Unmanaged<Flow>.fromOpaque(data).takeUnretainedValue()
    flow.worker.connected(flow, status)
}

private let onClosed: uv_close_cb = { handle in
    guard let handle, let data = handle.pointee.loop.pointee.data else { return }
    let worker = Unmanaged<Worker>.fromOpaque(data).takeUnretainedValue()
    worker.recycle(UnsafeMutableRawPointer(handle).assumingMemoryBound(to: uv_tcp_t.self))
}
