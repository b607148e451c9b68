/// What routers need to know, whole. Sent as a snapshot, then as changes; acknowledged by every router.
///
/// Marked `(tableID, revision, bootID)`: another `tableID` (new database, restore) always replaces; within one, revisions
/// only grow. In the same boot a router serves from its disk copy without paasd; after a reboot it opens the listeners
/// of the copy only, and connections wait for the first snapshot.
public struct RoutingTable: Sendable, Codable, Hashable {
    public struct Mark: Sendable, Codable, Hashable {
        public var tableID: String
        public var revision: Int64
        public var bootID: String
        public init(tableID: String, revision: Int64, bootID: String) {
            self.tableID = tableID
            self.revision = revision
            self.bootID = bootID
        }
    }

    public struct Backend: Sendable, Codable, Hashable {
        public var instance: InstanceID
        /// `web.1`, for logs.
        public var name: String
        public var address4: String?
        public var address6: String?
        public var port: UInt16
        public init(instance: InstanceID, name: String, address4: String?, address6: String?, port: UInt16) {
            self.instance = instance
            self.name = name
            self.address4 = address4
            self.address6 = address6
            self.port = port
        }
    }

    public struct Route: Sendable, Codable, Hashable {
        public var binding: BindingID
        public var app: String
        public var name: String
        public var `protocol`: PortBinding.BindingProtocol
        public var publicPort: UInt16
        /// No byte in either direction for this long: the flow is closed.
        public var idleTimeoutSeconds: Int
        public var connectTimeoutMilliseconds: Int
        public var affinity: PortBinding.Affinity
        public var proxyProtocol: PortBinding.ProxyProtocol
        public var plane: PortBinding.Plane
        /// Sorted by instance id.
        public var backends: [Backend]

        public init(
            binding: BindingID, app: String, name: String, protocol: PortBinding.BindingProtocol, publicPort: UInt16,
            idleTimeoutSeconds: Int = 3600, connectTimeoutMilliseconds: Int = 2000,
            affinity: PortBinding.Affinity = .none, proxyProtocol: PortBinding.ProxyProtocol = .none,
            plane: PortBinding.Plane = .auto, backends: [Backend]
        ) {
            self.binding = binding
            self.app = app
            self.name = name
            self.protocol = `protocol`
            self.publicPort = publicPort
            self.idleTimeoutSeconds = idleTimeoutSeconds
            self.connectTimeoutMilliseconds = connectTimeoutMilliseconds
            self.affinity = affinity
            self.proxyProtocol = proxyProtocol
            self.plane = plane
            self.backends = backends
        }
    }

    public var mark: Mark
    /// Sorted by binding id.
    public var routes: [Route]

    public init(mark: Mark, routes: [Route]) {
        self.mark = mark
        self.routes = routes
    }
}

/// One message of the table stream (`GET /v1/table` on paasd's table socket, one JSON object per line).
public enum RoutingMessage: Sendable, Codable, Hashable {
    case snapshot(RoutingTable)
    /// Applies only on top of revision `base` of the same table; else the router asks for a snapshot by reconnecting.
    case change(mark: RoutingTable.Mark, base: Int64, upserts: [RoutingTable.Route], removed: [BindingID])
    /// Sent every few seconds so that both sides notice a dead peer.
    case keepAlive
}

/// What a router reports (`POST /v1/routers/{id}/ack`).
public struct RouterAcknowledgement: Sendable, Codable, Hashable {
    public struct BindingFailure: Sendable, Codable, Hashable {
        public var binding: BindingID
        public var reason: String
        public init(binding: BindingID, reason: String) {
            self.binding = binding
            self.reason = reason
        }
    }

    /// The newest table that every loop of the router serves.
    public var mark: RoutingTable.Mark
    /// Live flows to instances that the table no longer has. An instance that is not listed has none.
    public var draining: [InstanceID: Int]
    /// Bindings whose port can't be opened now. All of them, each time.
    public var failed: [BindingFailure]
    /// Names one run of the router's program.
    public var start: String
    /// Counts the acknowledgements of one run, from 1, because they can overtake each other on their way; 0: not counted.
    public var sequence: Int64

    public init(
        mark: RoutingTable.Mark, draining: [InstanceID: Int], failed: [BindingFailure], start: String = "",
        sequence: Int64 = 0
    ) {
        self.mark = mark
        self.draining = draining
        self.failed = failed
        self.start = start
        self.sequence = sequence
    }

    private enum CodingKeys: String, CodingKey { case mark, draining, failed, start, sequence }

    public init(from decoder: any Decoder) throws {
        let container = try decoder.container(keyedBy: CodingKeys.self)
        mark = try container.decode(RoutingTable.Mark.self, forKey: .mark)
        var flows: [InstanceID: Int] = [:]
        for (key, count) in try container.decode([String: Int].self, forKey: .draining) {
            guard let id = InstanceID(key) else {
                throw DecodingError.dataCorruptedError(forKey: .draining, in: container, debugDescription: "not a UUID")
            }
            flows[id] = count
        }
        draining = flows
        failed = try container.decode([BindingFailure].self, forKey: .failed)
        // A router of an older version counts nothing.
        start = try container.decodeIfPresent(String.self, forKey: .start) ?? ""
        sequence = try container.decodeIfPresent(Int64.self, forKey: .sequence) ?? 0
    }

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: CodingKeys.self)
        try container.encode(mark, forKey: .mark)
        try container.encode(
            Dictionary(uniqueKeysWithValues: draining.map { ($0.key.description, $0.value) }), forKey: .draining)
        try container.encode(failed, forKey: .failed)
        try container.encode(start, forKey: .start)
        try container.encode(sequence, forKey: .sequence)
    }
}

extension RoutingTable {
    /// The change that leads from `old` (same table id) to this.
    public func change(from old: RoutingTable) -> RoutingMessage {
        var before: [BindingID: Route] = [:]
        for route in old.routes { before[route.binding] = route }
        var upserts: [Route] = []
        for route in routes {
            if before.removeValue(forKey: route.binding) != route { upserts.append(route) }
        }
        return .change(mark: mark, base: old.mark.revision, upserts: upserts, removed: before.keys.sorted())
    }

    /// Applies one message. Nil if it can't be applied on top of this table, so that a snapshot is needed.
    public func applying(_ message: RoutingMessage) -> RoutingTable? {
        switch message {
        case .keepAlive: return self
        case .snapshot(let table):
            if table.mark.tableID == mark.tableID && table.mark.revision < mark.revision { return nil }
            return table
        case .change(let newMark, let base, let upserts, let removed):
            guard newMark.tableID == mark.tableID, base == mark.revision, newMark.revision >= base else { return nil }
            var byID: [BindingID: Route] = [:]
            for route in routes { byID[route.binding] = route }
            for id in removed { byID[id] = nil }
            for route in upserts { byID[route.binding] = route }
            return RoutingTable(mark: newMark, routes: byID.values.sorted { $0.binding < $1.binding })
        }
    }
}
