public import Domain
import Postgres

extension PostgresStore {
    public func routingTable(bootID: String) async throws(PaaSError) -> RoutingTable {
        try await read { session in
            let mark = try session.routingMark(bootID)
            var backends: [BindingID: [RoutingTable.Backend]] = [:]
            for row in try session.rows(
                """
                select b.id as binding, b.target_port, i.id, i.type, i.index, i.address4, i.address6
                from port_bindings b join instances i on i.app_id = b.app_id and i.type = b.process_type
                where i.state = 'up' and i.boot_id = \(bootID) and (i.address4 is not null or i.address6 is not null) order by i.id
                """)
            {
                let name = "\(try row.get("type", as: String.self)).\(try row.get("index", as: Int.self))"
                backends[try row.get("binding"), default: []].append(
                    RoutingTable.Backend(
                        instance: try row.get("id"), name: name, address4: try row.get("address4"),
                        address6: try row.get("address6"), port: try row.get("target_port")))
            }
            let routes = try session.rows(
                """
                select b.*, a.name as app_name from port_bindings b join apps a on a.id = b.app_id
                where not a.deleting order by b.id
                """
            ).map { row in
                let port = try PortBinding(row)
                return RoutingTable.Route(
                    binding: port.id, app: try row.get("app_name"), name: port.name, protocol: port.protocol,
                    publicPort: port.publicPort, affinity: port.affinity, proxyProtocol: port.proxyProtocol,
                    plane: port.plane, backends: backends[port.id] ?? [])
            }
            return RoutingTable(mark: mark, routes: routes)
        }
    }

    public func routingMark(bootID: String) async throws(PaaSError) -> RoutingTable.Mark {
        try await read { try $0.routingMark(bootID) }
    }

    public func recordAcknowledgement(router: String, _ ack: RouterAcknowledgement, now: Timestamp)
        async throws(PaaSError)
    {
        guard !router.isEmpty, router.utf8.count <= 200, Self.isPlain(router), ack.mark.tableID.utf8.count <= 64,
            ack.mark.bootID.utf8.count <= 128, ack.start.utf8.count <= 64, ack.failed.count <= 65_536
        else { throw PaaSError(.invalid, "a router's id has 1 to 200 printable characters") }
        var failed: [String: String] = [:]
        for failure in ack.failed {
            failed["\(failure.binding)"] = withoutNUL(String(failure.reason.prefix(500)))
        }
        let report = RouterReport(
            tableID: withoutNUL(ack.mark.tableID), bootID: withoutNUL(ack.mark.bootID), revision: ack.mark.revision,
            failed: failed, start: withoutNUL(ack.start), sequence: ack.sequence, seenAt: now)
        // Routers repeat themselves every few seconds; writing means waiting for the disk.
        let known = try await read { try $0.routerReport(router, lock: false) }
        if let known, !report.isNews(to: known) { return }
        try await write(now: now) { transaction in
            let session = transaction.session
            let before = try session.routerReport(router, lock: true)
            if let before, !report.isNews(to: before) { return }
            // Within one table and boot a revision once reached stays reached.
            try session.run(
                """
                insert into routers (id, table_id, boot_id, revision, failed, start, sequence, seen_at)
                values (\(router), \(report.tableID), \(report.bootID), \(report.revision), \(JSON(report.failed)),
                    \(report.start), \(report.sequence), \(now))
                on conflict (id) do update set
                    revision = case when routers.table_id = excluded.table_id and routers.boot_id = excluded.boot_id
                        then greatest(routers.revision, excluded.revision) else excluded.revision end,
                    table_id = excluded.table_id, boot_id = excluded.boot_id, failed = excluded.failed,
                    start = excluded.start, sequence = excluded.sequence, seen_at = excluded.seen_at
                """)
            if (before?.failed ?? [:]) != report.failed { try transaction.updatePortStates() }
        }
    }

    private static func isPlain(_ text: String) -> Bool {
        text.unicodeScalars.allSatisfy { $0.properties.generalCategory != .control }
    }

    public func routers() async throws(PaaSError) -> [RouterRecord] {
        try await read { session in
            try session.rows(
                """
                select r.id, r.seen_at,
                    case when r.table_id = p.table_id::text then r.revision else -1 end as revision
                from routers r, platform p order by r.id
                """
            ).map {
                RouterRecord(id: try $0.get("id"), revision: try $0.get("revision"), seenAt: try $0.get("seen_at"))
            }
        }
    }

    /// Forgets the routers of this host that are not `id`: left over from another instance name, they never acknowledge
    /// again, and addresses would wait for them for ever.
    public func forgetLocalRouters(except id: String, epoch: Int64, now: Timestamp) async throws(PaaSError) {
        try await write(epoch: epoch, now: now) { transaction in
            let gone = try transaction.session.rows(
                "delete from routers where id like 'local-%' and id <> \(id) returning id")
            guard !gone.isEmpty else { return }
            try transaction.updatePortStates()
            for row in gone {
                transaction.record(
                    "router.removed", space: nil, actor: nil, ["router": try row.get("id", as: String.self)])
            }
        }
    }
}

/// What is recorded of a router.
private struct RouterReport: Sendable {
    var tableID: String
    var bootID: String
    var revision: Int64
    var failed: [String: String]
    var start: String
    var sequence: Int64
    var seenAt: Timestamp

    /// How long a repetition is not worth a write.
    static let freshSeconds: Double = 30

    /// False for a repetition, and for what came later than a newer report of the same run.
    func isNews(to known: RouterReport) -> Bool {
        if start == known.start && sequence < known.sequence { return false }
        let isSame =
            tableID == known.tableID && bootID == known.bootID && revision == known.revision && failed == known.failed
            && start == known.start
        return !isSame || abs(seenAt.seconds(since: known.seenAt)) >= Self.freshSeconds
    }
}

extension PostgresSession {
    fileprivate func routingMark(_ bootID: String) throws -> RoutingTable.Mark {
        let row = try one("select p.table_id::text as table_id, c.routing_revision from platform p, counters c")
        return RoutingTable.Mark(
            tableID: try row.get("table_id"), revision: try row.get("routing_revision"), bootID: bootID)
    }

    fileprivate func routerReport(_ id: String, lock: Bool) throws -> RouterReport? {
        let query: SQL = "select * from routers where id = \(id)"
        return try first(lock ? "\(query) for update" : query).map { row in
            RouterReport(
                tableID: try row.get("table_id"), bootID: try row.get("boot_id"), revision: try row.get("revision"),
                failed: try row.json("failed"), start: try row.get("start"), sequence: try row.get("sequence"),
                seenAt: try row.get("seen_at"))
        }
    }
}

extension StoreTransaction {
    /// A binding is `failed` as long as any router can't open it; an event for each change.
    fileprivate func updatePortStates() throws {
        let changed = try session.rows(
            """
            with reasons as (
                select f.key::uuid as binding, min(r.id || ': ' || f.value) as reason
                from routers r, jsonb_each_text(r.failed) f group by 1
            )
            select b.id, b.app_id, b.name, b.public_port, n.reason
            from port_bindings b left join reasons n on n.binding = b.id
            where b.reason is distinct from n.reason order by b.id for no key update of b
            """)
        for row in changed {
            let id: BindingID = try row.get("id")
            let reason: String? = try row.get("reason")
            try session.run(
                """
                update port_bindings set state = \(reason == nil ? "active" : "failed"), reason = \(reason)
                where id = \(id)
                """)
            let number: Int = try row.get("public_port")
            if reason == nil {
                try session.run("delete from refused_ports where public_port = \(number)")
            } else {
                try session.run(
                    """
                    insert into refused_ports (public_port, refused_at) values (\(number), \(now))
                    on conflict (public_port) do update set refused_at = excluded.refused_at
                    """)
            }
            var data = ["port": try row.get("name", as: String.self)]
            data["publicPort"] = "\(number)"
            data["reason"] = reason
            record(
                reason == nil ? "port.active" : "port.failed", app: try session.findApp(try row.get("app_id")),
                actor: nil, data)
        }
    }
}
