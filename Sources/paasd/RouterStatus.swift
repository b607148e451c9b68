import API
import Domain

/// How the routers do: whether each follows the table, and serves the newest one.
struct RouterStatus {
    struct Seen: Sendable {
        var isConnected: Bool
        /// The table that it serves, as far as it told.
        var mark: RoutingTable.Mark?
    }

    /// Routers that were heard of since the start.
    let seen: @Sendable () -> [String: Seen]
    let newest: @Sendable () async throws(PaaSError) -> RoutingTable.Mark
    /// Routers that are known from earlier.
    let recorded: @Sendable () async throws(PaaSError) -> [String]
    /// How long a router may take to serve a table that is new.
    var patience = Duration.seconds(2)

    func component() async -> ComponentStatus {
        do throws(PaaSError) {
            let recorded = try await recorded()
            let mark = try await newest()
            return await judge(recorded, mark)
        } catch {
            // Without the database nobody changes the table.
            let status = await judge([], nil)
            let unknown = "the newest table can't be read: \(error.message)"
            return ComponentStatus(
                name: status.name, state: status.state, detail: status.detail.map { "\($0); \(unknown)" } ?? unknown)
        }
    }

    private func judge(_ recorded: [String], _ mark: RoutingTable.Mark?) async -> ComponentStatus {
        let start = ContinuousClock.now
        while true {
            let seen = seen()
            let connected = seen.filter { $0.value.isConnected }
            let away = Set(recorded).union(seen.keys).subtracting(connected.keys).sorted()
            guard !connected.isEmpty else {
                return ComponentStatus(
                    name: "router", state: .down,
                    detail: away.isEmpty
                        ? "no router has connected yet" : "\(Self.list(away)) away; public ports may not be served")
            }
            let behind = connected.filter { mark != nil && !Self.serves($0.value.mark, mark) }.keys.sorted()
            if !behind.isEmpty, ContinuousClock.now - start < patience {
                do {
                    try await Task.sleep(for: .milliseconds(50))
                    continue
                } catch {}  // Whoever asked is gone.
            }
            var faults: [String] = []
            if !away.isEmpty { faults.append("\(Self.list(away)) away") }
            if !behind.isEmpty { faults.append("\(Self.list(behind)) behind the newest table") }
            if !faults.isEmpty {
                return ComponentStatus(name: "router", state: .degraded, detail: faults.joined(separator: ", "))
            }
            let detail = mark.map { "revision \($0.revision)" }
            return ComponentStatus(name: "router", state: .up, detail: detail)
        }
    }

    private static func serves(_ mine: RoutingTable.Mark?, _ newest: RoutingTable.Mark?) -> Bool {
        guard let mine, let newest else { return false }
        return mine.tableID == newest.tableID && mine.revision >= newest.revision
    }

    private static func list(_ names: [String]) -> String {
        names.joined(separator: ", ") + (names.count == 1 ? " is" : " are")
    }
}
