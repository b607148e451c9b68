public import Domain
import Postgres

extension PostgresStore {
    public static let maximumPortsOfApp = 64
    /// For so long a number that a router could not open is given to nobody who asks for any.
    static let refusedPortSeconds: Double = 3600

    public func ports(_ app: AppID) async throws(PaaSError) -> [PortBinding] {
        try await read { try $0.ports(app) }
    }

    public func putPort(
        _ id: AppID, _ request: PortRequest, range: ClosedRange<UInt16>, actor: Principal, now: Timestamp
    ) async throws(PaaSError) -> (port: PortBinding, created: Bool) {
        try Names.validateShort(request.name, "port")
        if let type = request.processType { try Names.validateShort(type, "process type") }
        if let drain = request.drainSeconds, !Limits.drainSeconds.contains(drain) {
            throw PaaSError(
                .invalid, "drainSeconds must be from 0 to \(Limits.drainSeconds.upperBound)",
                invalidParameters: [.init(name: "drainSeconds", reason: "out of range")])
        }
        if request.targetPort == 0 || request.publicPort == 0 {
            throw PaaSError(.invalid, "0 is no port; leave it out, and one is chosen")
        }
        return try await write(now: now) { transaction in
            let app = try transaction.lockApp(id, for: actor)
            let ports = try transaction.session.ports(id)
            if let port = ports.first(where: { $0.name == request.name }) {
                return (try transaction.updatePort(app, port, request, actor: actor.name), false)
            }
            guard ports.count < Self.maximumPortsOfApp else {
                throw PaaSError(
                    .exhausted,
                    "app \(app.name) has \(Self.maximumPortsOfApp) ports, which is the most; remove one first")
            }
            let type = try transaction.processType(of: request, app: app)
            // What runs already was started without PORT and can't listen there.
            _ = try transaction.askForReplacement(in: app, type: type, index: nil)
            return (try transaction.insertPort(app, request, type: type, range: range, actor: actor.name), true)
        }
    }

    public func deletePort(_ id: AppID, name: String, actor: Principal, now: Timestamp) async throws(PaaSError) {
        try await write(now: now) { transaction in
            let app = try transaction.lockApp(id, for: actor)
            guard let port = try transaction.session.ports(id).first(where: { $0.name == name }) else {
                throw PaaSError(
                    .notFound, "app \(app.name) has no port \(Names.quoted(name)); see: paasctl ports -a \(app.name)")
            }
            try transaction.session.run("delete from port_bindings where id = \(port.id)")
            _ = try transaction.raiseRoutingRevision()
            transaction.record(
                "port.removed", app: app, actor: actor.name, ["port": name, "publicPort": "\(port.publicPort)"])
        }
    }
}

extension StoreTransaction {
    /// The type that a new binding leads to.
    fileprivate func processType(of request: PortRequest, app: App) throws -> String {
        let known = try session.knownTypes(app)
        if let type = request.processType {
            if ReleaseRun.Kind(rawValue: type) != nil {
                throw PaaSError(
                    .invalid, "\(type) is run once for a release and serves no ports",
                    invalidParameters: [.init(name: "process", reason: "runs once")])
            }
            if let known, !known.contains(type) { throw PaaSError.unknownType(type, known: known) }
            return type
        }
        guard let known else { return "web" }
        if known.contains("web") { return "web" }
        if known.count == 1 { return known[0] }
        throw PaaSError(
            .invalid,
            "say which process type the port leads to (--process); app \(app.name) has: \(known.joined(separator: ", "))",
            invalidParameters: [.init(name: "process", reason: "required")])
    }

    fileprivate func updatePort(_ app: App, _ port: PortBinding, _ request: PortRequest, actor: String) throws
        -> PortBinding
    {
        func refuse(_ what: String, _ is: String) -> PaaSError {
            PaaSError(
                .conflict,
                "port \(port.name) of app \(app.name) has \(what) \(`is`), which can't change; remove the port and add it again"
            )
        }
        if request.protocol != port.protocol { throw refuse("protocol", port.protocol.rawValue) }
        if let type = request.processType, type != port.processType { throw refuse("process type", port.processType) }
        if let target = request.targetPort, target != port.targetPort {
            throw refuse("target port", "\(port.targetPort)")
        }
        if let number = request.publicPort, number != port.publicPort {
            throw refuse("public port", "\(port.publicPort)")
        }
        var changed = port
        changed.affinity = request.affinity ?? port.affinity
        changed.proxyProtocol = request.proxyProtocol ?? port.proxyProtocol
        changed.drainSeconds = request.drainSeconds ?? port.drainSeconds
        changed.plane = request.plane ?? port.plane
        if changed == port { return port }
        try session.run(
            """
            update port_bindings set affinity = \(changed.affinity.rawValue),
                proxy_protocol = \(changed.proxyProtocol.rawValue), drain_seconds = \(changed.drainSeconds),
                plane = \(changed.plane.rawValue) where id = \(port.id)
            """)
        _ = try raiseRoutingRevision()
        record("port.changed", app: app, actor: actor, ["port": port.name])
        return changed
    }

    /// A new binding of a locked app. The routing revision is raised before a number is chosen: its lock also makes those
    /// who look for a free one take turns.
    func insertPort(
        _ app: App, _ request: PortRequest, type: String, range: ClosedRange<UInt16>, actor: String
    ) throws -> PortBinding {
        // What is up is routed from now on, and drained when it leaves.
        try session.run(
            "update instances set was_routed = true where app_id = \(app.id) and type = \(type) and state = 'up'")
        _ = try raiseRoutingRevision()
        let publicPort = try publicPort(request, app: app, range: range)
        let taken = Set(try session.ports(app.id).filter { $0.processType == type }.map(\.targetPort))
        guard let target = request.targetPort ?? (5000...UInt16.max).first(where: { !taken.contains($0) }) else {
            throw PaaSError(.exhausted, "process type \(type) has no target port left")
        }
        let port = PortBinding(
            id: .random(), app: app.id, name: request.name, protocol: request.protocol, processType: type,
            targetPort: target, publicPort: publicPort, affinity: request.affinity ?? .none,
            proxyProtocol: request.proxyProtocol ?? .none,
            drainSeconds: request.drainSeconds ?? PortBinding.defaultDrainSeconds,
            plane: request.plane ?? .auto, createdAt: now)
        try session.run(
            """
            insert into port_bindings (id, app_id, name, protocol, transport, process_type, target_port, public_port,
                affinity, proxy_protocol, drain_seconds, plane, state, created_at)
            values (\(port.id), \(app.id), \(port.name), \(port.protocol.rawValue),
                \(port.protocol.transport.rawValue), \(type), \(target), \(publicPort), \(port.affinity.rawValue),
                \(port.proxyProtocol.rawValue), \(port.drainSeconds), \(port.plane.rawValue),
                \(port.state.rawValue), \(now))
            """)
        record(
            "port.added", app: app, actor: actor,
            ["port": port.name, "protocol": port.protocol.rawValue, "publicPort": "\(publicPort)"])
        return port
    }

    private func publicPort(_ request: PortRequest, app: App, range: ClosedRange<UInt16>) throws -> UInt16 {
        guard let wanted = request.publicPort else {
            // The lowest free one; those that a router could not open lately only if there is no other.
            let row = try session.first(
                """
                select n as free
                from generate_series(\(range.lowerBound)::bigint, \(range.upperBound)::bigint) n
                where not exists (select 1 from port_bindings p where p.public_port = n)
                order by exists (select 1 from refused_ports f where f.public_port = n
                    and f.refused_at > \(now.adding(seconds: -PostgresStore.refusedPortSeconds))), n limit 1
                """)
            guard let free: UInt16 = try row?.get("free") else {
                throw PaaSError(
                    .exhausted,
                    "all public ports from \(range.lowerBound) to \(range.upperBound) are in use; remove a port, or ask the operator for a larger PAAS_PORT_RANGE"
                )
            }
            return free
        }
        guard range.contains(wanted) else {
            throw PaaSError(
                .forbidden,
                "public port \(wanted) is not granted to space \(app.spaceName); choose one from \(range.lowerBound) to \(range.upperBound), or leave it out",
                invalidParameters: [.init(name: "publicPort", reason: "not granted")])
        }
        for row in try session.rows(
            "select app_id, name, transport from port_bindings where public_port = \(wanted)")
        {
            guard try row.get("app_id", as: AppID.self) == app.id else {
                throw PaaSError(.conflict, "public port \(wanted) is taken; choose another, or leave it out")
            }
            if try row.get("transport", as: String.self) == request.protocol.transport.rawValue {
                throw PaaSError(
                    .conflict,
                    "public port \(wanted) is taken by port \(try row.get("name", as: String.self)) of the same app; choose another"
                )
            }
        }
        return wanted
    }
}
