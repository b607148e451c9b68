import Domain

/// Which binding should listen where, which does, and which can't. Pure.
struct PortBook: Sendable {
    private var wanted: [BindingID: UInt16] = [:]
    private var open: [BindingID: UInt16] = [:]
    private var failed: [BindingID: String] = [:]
    /// Can't be served at all, whatever the port's state.
    private var unsupported: [BindingID: String] = [:]

    init() {}

    /// All bindings that don't listen, with the reason, in a stable order.
    var failures: [RouterAcknowledgement.BindingFailure] {
        failed.merging(unsupported) { _, reason in reason }
            .map { ($0.key.description, RouterAcknowledgement.BindingFailure(binding: $0.key, reason: $0.value)) }
            .sorted { $0.0 < $1.0 }.map { $0.1 }
    }

    var hasFailedPorts: Bool { !failed.isEmpty }

    /// Takes a change of the table. Returns the bindings whose listener must be closed before any other is opened,
    /// because a port may go from one binding to another.
    mutating func update(_ delta: TableState.Delta) -> [BindingID] {
        var closing: [BindingID] = []
        for id in delta.removed { forget(id, &closing) }
        for route in delta.upserts {
            if let reason = Self.reasonAgainst(route) {
                forget(route.binding, &closing)
                unsupported[route.binding] = reason
                continue
            }
            unsupported[route.binding] = nil
            if wanted[route.binding] != route.publicPort {
                forget(route.binding, &closing)
                wanted[route.binding] = route.publicPort
            }
        }
        return closing
    }

    /// Bindings that should listen and don't yet. Those that failed are tried again only if `retrying`.
    func toOpen(retrying: Bool) -> [(binding: BindingID, port: UInt16)] {
        wanted.compactMap { id, port in
            open[id] == nil && (retrying || failed[id] == nil) ? (id, port) : nil
        }
    }

    /// - Parameter reason: nil: it listens now.
    mutating func opened(_ id: BindingID, reason: String?) {
        guard let port = wanted[id] else { return }
        failed[id] = reason
        open[id] = reason == nil ? port : nil
    }

    private mutating func forget(_ id: BindingID, _ closing: inout [BindingID]) {
        wanted[id] = nil
        failed[id] = nil
        unsupported[id] = nil
        if open.removeValue(forKey: id) != nil { closing.append(id) }
    }

    private static func reasonAgainst(_ route: RoutingTable.Route) -> String? {
        if route.protocol != .tcp { return "protocol \(route.protocol.rawValue) is not served by this router" }
        if route.plane == .kernel { return "the kernel plane is not served by this router" }
        if route.proxyProtocol != .none {
            return "PROXY protocol \(route.proxyProtocol.rawValue) is not served by this router"
        }
        return nil
    }
}
