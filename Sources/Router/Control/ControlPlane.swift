import CLibUV
import Domain
import Glibc
import Logging
import OS
import Synchronization

/// What workers and helper threads tell the control side.
enum ControlMessage: Sendable {
    case applied(Int)
    case pong(Int)
    case copyWritten(RoutingTable.Mark, TableCopy.Outcome)
    /// A port that was opened can't be watched.
    case notListening(BindingID, String)
    case stop
}

/// The router's own brain: follows the table, opens ports, lets every loop apply, acknowledges. Confined to its loop;
/// no packet passes here.
final class ControlPlane {
    /// Milliseconds between two looks at draining flows: an instance's stop waits for their end.
    private static let drainLook: UInt64 = 25

    let configuration: RouterConfiguration
    let shared: WorkerShared
    let loop: UVLoop
    let logger: Logger
    private(set) var state = TableState()
    private(set) var routes: [BindingID: RoutePlan] = [:]
    private(set) var book = PortBook()
    /// False until there is a table of this boot.
    private(set) var isValid = false
    /// The newest mark that every loop serves.
    private(set) var servedMark: RoutingTable.Mark?

    private var health = HealthMap()
    /// In how many routes an instance stands, and where.
    private var live: [InstanceID: Int] = [:]
    private var backendsBefore: [BindingID: [InstanceID]] = [:]
    private var instances: [InstanceID: InstanceFlows] = [:]
    private var departed: Set<InstanceID> = []

    private var token = 0
    private var waitingWorkers = 0
    private var listenerPlaces: [BindingID: Int] = [:]
    /// The newest mark of which no older copy is on disk.
    private var writtenMark: RoutingTable.Mark?
    private var copyProblem: String?
    private var hasSnapshot = false

    private let copy: TableCopy
    private var client: TableClient?
    private var sender: AcknowledgementSender?
    private var pacing: AcknowledgementPacing
    private var metrics: MetricsServer?
    private var flowReporter: FlowReporter?
    private var inbox: MailboxReceiver<ControlMessage>?
    private var portRetry: LoopTimer?
    private var copyRetry: LoopTimer?
    private var drainTimer: LoopTimer?
    private var reportTimer: LoopTimer?
    private var stopTimer: LoopTimer?
    /// When the ports are closed, if the router was told to stop.
    private var drainDeadline: UInt64?
    /// When it ends, once the ports are closed.
    private var endDeadline: UInt64?

    init(_ configuration: RouterConfiguration, shared: WorkerShared, logger: Logger) throws(UVError) {
        self.configuration = configuration
        self.shared = shared
        self.logger = logger
        loop = try UVLoop()
        pacing = AcknowledgementPacing(repetition: configuration.acknowledgementMilliseconds)
        copy = TableCopy(path: configuration.copyPath)
        inbox = try MailboxReceiver(shared.control, loop: loop) { [unowned self] in receive($0) }
        portRetry = LoopTimer(loop: loop) { [unowned self] in retryPorts() }
        copyRetry = LoopTimer(loop: loop) { [unowned self] in writeCopy() }
        drainTimer = LoopTimer(loop: loop) { [unowned self] in lookAtDraining() }
        reportTimer = LoopTimer(loop: loop) { [unowned self] in report() }
        stopTimer = LoopTimer(loop: loop) { [unowned self] in lookAtStop() }
        let client = TableClient(
            loop: loop, path: configuration.tableSocket, routerID: configuration.routerID,
            silence: configuration.silenceMilliseconds, logger: logger)
        client.onConnect = { [unowned self] in
            hasSnapshot = false
            pacing.forget()
        }
        client.onMessage = { [unowned self] in receive($0) }
        self.client = client
        sender = AcknowledgementSender(
            loop: loop, path: configuration.tableSocket, routerID: configuration.routerID, logger: logger)
        flowReporter = FlowReporter(control: self)
        if let address = configuration.metricsAddress {
            metrics = MetricsServer(control: self, address: address)
        }
    }

    func run() {
        serveCopy()
        metrics?.start()
        flowReporter?.start()
        client?.connect()
        loop.run()
        loop.close()
    }

    private func receive(_ message: ControlMessage) {
        switch message {
        case .applied(let token): workerApplied(token)
        case .pong(let token): metrics?.answered(token)
        case .copyWritten(let mark, let outcome): copyWritten(mark, outcome)
        case .notListening(let binding, let problem): listenerFailed(binding, problem)
        case .stop: startStopping()
        }
    }

    /// Whether the stream of the table is open.
    var followsTable: Bool { client?.isConnected == true }

    /// Why no traffic should be sent here; nil if the table is served.
    var unreadiness: String? {
        if drainDeadline != nil { return "the router is about to end" }
        return servedMark == nil ? "no table of this boot has come yet; is paasd running?" : nil
    }

    // MARK: - The table

    private func serveCopy() {
        do {
            guard let table = try copy.read() else { return }
            isValid = table.mark.bootID == configuration.bootID
            logger.info(
                isValid ? "serving from the copy of the table" : "listening; waiting for the first table of this boot",
                metadata: ["revision": "\(table.mark.revision)", "bindings": "\(table.routes.count)"])
            guard case .applied(let delta) = state.apply(.snapshot(table)) else {
                logger.error(
                    "the copy of the table is damaged and is not used", metadata: ["path": "\(configuration.copyPath)"])
                return
            }
            writtenMark = table.mark
            apply(delta)
        } catch {
            logger.error(
                "the copy of the table can't be used; waiting for paasd",
                metadata: ["path": "\(configuration.copyPath)", "reason": "\(error)"])
        }
    }

    private func receive(_ message: RoutingMessage) {
        switch state.apply(message) {
        case .unchanged: break
        case .refused(let reason): client?.disconnect("the table was refused: \(reason)")
        case .applied(let delta):
            if case .snapshot = message { hasSnapshot = true }
            isValid = true
            writeCopy()
            apply(delta)
        }
    }

    private func writeCopy() {
        let control = shared.control
        copy.write(state) { mark, outcome in control.send(.copyWritten(mark, outcome)) }
    }

    private func copyWritten(_ mark: RoutingTable.Mark, _ outcome: TableCopy.Outcome) {
        let problem = outcome.problem
        if let problem {
            if problem != copyProblem {
                logger.error(
                    "the table can't be kept on disk and is written again and again; make room in its folder, or set right who may write there",
                    metadata: ["path": "\(configuration.copyPath)", "reason": "\(problem)"])
            }
            copyRetry?.start(after: configuration.copyRetryMilliseconds)
        } else if copyProblem != nil {
            logger.info("the table is kept on disk again", metadata: ["path": "\(configuration.copyPath)"])
        }
        copyProblem = problem
        // An outdated copy that stays would be served after a restart: then the new table may not count as known here.
        if case .staleRemains = outcome { return }
        writtenMark = mark
        report()
    }

    /// First every loop takes the change and lets go of ports; only then are ports opened, because one may have moved
    /// from one binding to another, and because no connection may meet a loop that does not know its route yet.
    private func apply(_ delta: TableState.Delta) {
        client?.hold()
        trackInstances(delta)
        var plans: [RoutePlan] = []
        for id in delta.removed { routes[id] = nil }
        for route in delta.upserts {
            let plan = plan(route)
            routes[route.binding] = plan
            plans.append(plan)
        }
        let closing = book.update(delta)
        for id in closing where listenerPlaces.removeValue(forKey: id) != nil { shared.budget.give(1) }
        let update = TableUpdate(upserts: plans, removed: delta.removed, closedListeners: closing, isValid: isValid)
        token += 1
        waitingWorkers = shared.mailboxes.count
        for mailbox in shared.mailboxes { mailbox.send(.apply(update, token: token)) }
    }

    private func plan(_ route: RoutingTable.Route) -> RoutePlan {
        var targets: [BackendTarget] = []
        for backend in route.backends {
            let flows = instances[backend.instance] ?? InstanceFlows()
            instances[backend.instance] = flows
            let addresses = [backend.address4, backend.address6].compactMap { ip in
                ip.flatMap { SocketAddress(ip: $0, port: backend.port) }
            }
            guard !addresses.isEmpty else {
                logger.error(
                    "a backend has no address that can be read and gets no flow",
                    metadata: ["app": "\(route.app)", "process": "\(backend.name)"])
                continue
            }
            targets.append(
                BackendTarget(
                    instance: backend.instance, name: backend.name, addresses: addresses, flows: flows,
                    health: health.entry(backend.instance, port: backend.port)))
        }
        let known = routes[route.binding]?.shared
        return RoutePlan(
            route, backends: targets, shared: known ?? RouteShared(route.binding, loops: shared.mailboxes.count))
    }

    /// Counts in how many routes each instance stands.
    private func trackInstances(_ delta: TableState.Delta) {
        var touched: Set<InstanceID> = []
        func drop(_ id: BindingID) {
            for instance in backendsBefore.removeValue(forKey: id) ?? [] {
                live[instance, default: 1] -= 1
                touched.insert(instance)
            }
        }
        for id in delta.removed { drop(id) }
        for route in delta.upserts {
            drop(route.binding)
            backendsBefore[route.binding] = route.backends.map(\.instance)
            for backend in route.backends {
                live[backend.instance, default: 0] += 1
                departed.remove(backend.instance)
            }
        }
        for instance in touched where live[instance] == 0 {
            live[instance] = nil
            departed.insert(instance)
        }
    }

    private func workerApplied(_ token: Int) {
        guard token == self.token, waitingWorkers > 0 else { return }
        waitingWorkers -= 1
        guard waitingWorkers == 0 else { return }
        openPorts(retrying: false)
        if isValid { servedMark = state.mark }
        lookAtDraining()
        report()
        client?.release()
    }

    // MARK: - Ports

    private func openPorts(retrying: Bool) {
        guard endDeadline == nil else { return }
        for (binding, port) in book.toOpen(retrying: retrying) {
            guard let route = routes[binding]?.shared else { continue }
            guard shared.budget.take(1) else {
                book.opened(binding, reason: "port \(port): the router's limit of open files is reached")
                continue
            }
            do throws(SystemError) {
                let socket = try ListeningSocket.open(address: configuration.address, port: port)
                // Spread, so that no loop has all the accepting to do.
                let place = Int(port) % shared.mailboxes.count
                shared.mailboxes[place].send(.listen(socket.release(), route))
                listenerPlaces[binding] = place
                book.opened(binding, reason: nil)
            } catch {
                shared.budget.give(1)
                if !retrying {
                    logger.warning(
                        "a port can't be opened; the others are not affected",
                        metadata: ["binding": "\(binding)", "port": "\(port)", "error": "\(error)"])
                }
                book.opened(binding, reason: "port \(port): \(UVError.text(-error.errno))")
            }
        }
        if book.hasFailedPorts {
            portRetry?.start(after: configuration.portRetryMilliseconds)
        } else {
            portRetry?.stop()
        }
    }

    /// The loop has closed the port already.
    private func listenerFailed(_ binding: BindingID, _ problem: String) {
        // Nil: the table let go of it meanwhile.
        guard listenerPlaces.removeValue(forKey: binding) != nil else { return }
        shared.budget.give(1)
        logger.error(
            "a port can't be watched and is tried again",
            metadata: ["binding": "\(binding)", "error": "\(problem)"])
        book.opened(binding, reason: problem)
        portRetry?.start(after: configuration.portRetryMilliseconds)
        report()
    }

    private func retryPorts() {
        // While loops still close ports, those can't be opened; the end of that opens them.
        if waitingWorkers == 0 {
            openPorts(retrying: true)
            report()
        } else {
            portRetry?.start(after: configuration.portRetryMilliseconds)
        }
    }

    // MARK: - Drain and reports

    private func lookAtDraining() {
        var gone: Set<InstanceID> = []
        for instance in departed where (instances[instance]?.active.load(ordering: .relaxed) ?? 0) == 0 {
            gone.insert(instance)
        }
        // While loops still use the plans from before, a flow may just begin.
        if waitingWorkers == 0, !gone.isEmpty {
            departed.subtract(gone)
            for instance in gone { instances[instance] = nil }
            health.forget(gone)
            report()
        }
        if departed.isEmpty { drainTimer?.stop() } else { drainTimer?.start(after: Self.drainLook) }
        if !departed.isEmpty { report() }
    }

    private var draining: [InstanceID: Int] {
        var counts: [InstanceID: Int] = [:]
        for instance in departed {
            let count = instances[instance]?.active.load(ordering: .relaxed) ?? 0
            if count > 0 { counts[instance] = count }
        }
        return counts
    }

    /// Tells paasd what is new. A revision is acknowledged only once every loop serves it and it is on disk: after a kill
    /// the router would else serve a table with instances whose addresses were given to others since.
    private func report() {
        guard hasSnapshot, client?.isConnected == true, waitingWorkers == 0, let mark = servedMark,
            mark == writtenMark
        else { return }
        let present = RouterAcknowledgement(mark: mark, draining: draining, failed: book.failures)
        switch pacing.next(present, now: loop.now) {
        case .send(let acknowledgement):
            sender?.send(acknowledgement)
            reportTimer?.start(after: configuration.acknowledgementMilliseconds)
        case .wait(let milliseconds): reportTimer?.start(after: milliseconds)
        }
    }

    // MARK: - Stop

    /// Serves on at first: the supervisor starts the next router only when this one has ended, and until then the ports
    /// would refuse.
    private func startStopping() {
        guard drainDeadline == nil else { return }
        drainDeadline = loop.now + configuration.drainMilliseconds
        lookAtStop()
    }

    private func lookAtStop() {
        guard let drainDeadline else { return }
        let isUnused = shared.budget.used <= listenerPlaces.count
        if let endDeadline {
            if isUnused || loop.now >= endDeadline { return end() }
        } else if isUnused || loop.now >= drainDeadline {
            endDeadline = loop.now + configuration.closingMilliseconds
            for mailbox in shared.mailboxes { mailbox.send(.stopListening) }
            shared.budget.give(listenerPlaces.count)
            listenerPlaces = [:]
        }
        // What waited at a port becomes a flow before the next look.
        stopTimer?.start(after: 20)
    }

    private func end() {
        for mailbox in shared.mailboxes { mailbox.send(.stop) }
        client?.close()
        sender?.close()
        metrics?.close()
        flowReporter?.close()
        for timer in [portRetry, copyRetry, drainTimer, reportTimer, stopTimer] { timer?.close() }
        _ = inbox?.close()
    }
}
