import Domain

/// Where routers get their table from.
public protocol RoutingFeed: Sendable {
    /// The newest table.
    func current() async throws(PaaSError) -> RoutingTable
    /// The newest table's mark: asked for every few seconds, when hints may have been lost.
    func currentMark() async throws(PaaSError) -> RoutingTable.Mark
    /// One element whenever the table may have changed; may be coalesced and may be late. One stream for each caller.
    func changes() -> AsyncStream<Void>
    func acknowledge(router: String, _ acknowledgement: RouterAcknowledgement) async throws(PaaSError)
    /// What became of flows. The apps' logs say it.
    func report(router: String, _ reports: [FlowReport]) async throws(PaaSError)
    /// A router opened a stream. It may open a second one before the first is known to be dead.
    func routerConnected(_ id: String)
    func routerDisconnected(_ id: String)
}
