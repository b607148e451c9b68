import API
import Domain
import Logging
import Scheduler
import Synchronization

/// Between the scheduler, which changes the table, and the routers, which follow it.
final class RoutingHub: RoutingFeed, RoutingPublisher {
    private struct State {
        var listeners: [Int: AsyncStream<Void>.Continuation] = [:]
        var next = 0
        var reconciler: Reconciler?
        /// Streams open per router: a router may open a new one before its old one is known to be dead.
        var connections: [String: Int] = [:]
        /// What each router served when it was last heard.
        var marks: [String: RoutingTable.Mark] = [:]
    }

    private let store: any SchedulerStore
    private let bootID: String
    private let lines: RouterLines
    private let logger: Logger
    private let state = Mutex(State())

    init(store: any SchedulerStore, bootID: String, lines: RouterLines, logger: Logger) {
        self.store = store
        self.bootID = bootID
        self.lines = lines
        self.logger = logger
    }

    func attach(_ reconciler: Reconciler) { state.withLock { $0.reconciler = reconciler } }

    /// The routers that were heard of since the start: whether they follow the table, and which one they serve.
    var routers: [String: RouterStatus.Seen] {
        state.withLock { state in
            Dictionary(
                uniqueKeysWithValues: Set(state.connections.keys).union(state.marks.keys).map {
                    ($0, RouterStatus.Seen(isConnected: state.connections[$0] != nil, mark: state.marks[$0]))
                })
        }
    }

    // MARK: RoutingPublisher

    func tableChanged() {
        for listener in state.withLock({ Array($0.listeners.values) }) { listener.yield() }
    }

    // MARK: RoutingFeed

    func current() async throws(PaaSError) -> RoutingTable { try await store.routingTable(bootID: bootID) }

    func currentMark() async throws(PaaSError) -> RoutingTable.Mark { try await store.routingMark(bootID: bootID) }

    func changes() -> AsyncStream<Void> {
        let (stream, continuation) = AsyncStream<Void>.makeStream(bufferingPolicy: .bufferingNewest(1))
        let number = state.withLock { state in
            state.next += 1
            state.listeners[state.next] = continuation
            return state.next
        }
        continuation.onTermination = { [weak self] _ in self?.state.withLock { $0.listeners[number] = nil } }
        return stream
    }

    func acknowledge(router: String, _ acknowledgement: RouterAcknowledgement) async throws(PaaSError) {
        let reconciler = state.withLock { state in
            state.marks[router] = acknowledgement.mark
            return state.reconciler
        }
        guard let reconciler else { return }
        try await reconciler.acknowledge(router: router, acknowledgement)
    }

    func report(router: String, _ reports: [FlowReport]) async throws(PaaSError) { try await lines.write(reports) }

    func routerConnected(_ id: String) {
        logger.info("router connected", metadata: ["router": "\(id)"])
        let (reconciler, isFirst) = state.withLock { state in
            state.connections[id, default: 0] += 1
            return (state.reconciler, state.connections[id] == 1)
        }
        if isFirst { reconciler?.routerConnected(id) }
    }

    func routerDisconnected(_ id: String) {
        let (reconciler, isLast) = state.withLock { state -> (Reconciler?, Bool) in
            let left = (state.connections[id] ?? 1) - 1
            state.connections[id] = left > 0 ? left : nil
            return (state.reconciler, left <= 0)
        }
        guard isLast else { return }
        logger.warning("router disconnected", metadata: ["router": "\(id)"])
        reconciler?.routerDisconnected(id)
    }
}
