import Domain

/// The newest table that was accepted, and the rules by which it is replaced. Pure.
struct TableState: Sendable {
    /// What differs from the table before.
    struct Delta: Sendable, Hashable {
        var upserts: [RoutingTable.Route] = []
        var removed: [BindingID] = []
    }

    enum Outcome: Sendable, Hashable {
        case applied(Delta)
        case unchanged
        /// The message can't be used, and why. Only a snapshot helps.
        case refused(String)
    }

    private(set) var mark: RoutingTable.Mark?
    private(set) var routes: [BindingID: RoutingTable.Route] = [:]

    /// Whole, sorted by binding id. Nil before the first.
    var table: RoutingTable? {
        guard let mark else { return nil }
        // A key per route: comparing identifiers makes a text of both.
        let sorted = routes.values.map { ($0.binding.description, $0) }.sorted { $0.0 < $1.0 }
        return RoutingTable(mark: mark, routes: sorted.map { $0.1 })
    }

    mutating func apply(_ message: RoutingMessage) -> Outcome {
        switch message {
        case .keepAlive: .unchanged
        case .snapshot(let table): replace(table)
        case .change(let mark, let base, let upserts, let removed):
            change(mark, base: base, upserts: upserts, removed: removed)
        }
    }

    private mutating func replace(_ table: RoutingTable) -> Outcome {
        if let mark, mark.tableID == table.mark.tableID, table.mark.revision < mark.revision {
            return .refused("revision \(table.mark.revision) is older than \(mark.revision), which is in force")
        }
        var new: [BindingID: RoutingTable.Route] = [:]
        new.reserveCapacity(table.routes.count)
        var delta = Delta()
        for route in table.routes {
            if new.updateValue(route, forKey: route.binding) != nil {
                return .refused("binding \(route.binding) is listed twice")
            }
            if routes[route.binding] != route { delta.upserts.append(route) }
        }
        for id in routes.keys where new[id] == nil { delta.removed.append(id) }
        mark = table.mark
        routes = new
        return .applied(delta)
    }

    private mutating func change(
        _ newMark: RoutingTable.Mark, base: Int64, upserts: [RoutingTable.Route], removed: [BindingID]
    ) -> Outcome {
        guard let mark else { return .refused("a change came before any snapshot") }
        guard newMark.tableID == mark.tableID else { return .refused("the change belongs to another table") }
        guard base == mark.revision, newMark.revision >= base else {
            return .refused("the change is for revision \(base), but \(mark.revision) is in force")
        }
        var delta = Delta()
        for id in removed where routes.removeValue(forKey: id) != nil { delta.removed.append(id) }
        for route in upserts where routes.updateValue(route, forKey: route.binding) != route {
            delta.upserts.append(route)
        }
        delta.removed.removeAll { routes[$0] != nil }
        self.mark = newMark
        return .applied(delta)
    }
}
