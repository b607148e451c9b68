public import Domain
import Postgres

extension PostgresStore {
    public func routingTable(bootID: String) async throws(PaaSError) -> RoutingTable {
        try await read { session in
            let head = try session.one(
                "select p.table_id::text as table_id, c.routing_revision from platform p, counters c")
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
            return RoutingTable(
                mark: RoutingTable.Mark(
                    tableID: try head.get("table_id"), revision: try head.get("routing_revision"), bootID: bootID),
                routes: routes)
        }
    }

    public func recordAcknowledgement(router: String, _ ack: RouterAcknowledgement, now: Timestamp)
        async throws(PaaSError)
    {
        guard !router.isEmpty, router.utf8.count <= 200,
            router.unicodeScalars.allSatisfy({ $0.properties.generalCategory != .control }),
            ack.mark.tableID.utf8.count <= 64, ack.mark.bootID.utf8.count <= 128, ack.failed.count <= 65_536
        else { throw PaaSError(.invalid, "a router's id has 1 to 200 printable characters") }
        var failed: [String: String] = [:]
        for failure in ack.failed {
            failed["\(failure.binding)"] = withoutNUL(String(failure.reason.prefix(500)))
        }
        let reasons = failed
        let mark = ack.mark
        try await write(now: now) { transaction in
            let session = transaction.session
            let before = try session.first("select failed from routers where id = \(router) for update")?
                .json("failed", as: [String: String].self)
            // Acknowledgements can overtake each other; within one table and boot a revision once reached stays reached.
            try session.run(
                """
                insert into routers (id, table_id, boot_id, revision, failed, seen_at)
                values (\(router), \(withoutNUL(mark.tableID)), \(withoutNUL(mark.bootID)), \(mark.revision),
                    \(JSON(reasons)), \(now))
                on conflict (id) do update set
                    revision = case when routers.table_id = excluded.table_id and routers.boot_id = excluded.boot_id
                        then greatest(routers.revision, excluded.revision) else excluded.revision end,
                    table_id = excluded.table_id, boot_id = excluded.boot_id, failed = excluded.failed,
                    seen_at = excluded.seen_at
                """)
            if (before ?? [:]) != reasons { try transaction.updatePortStates() }
        }
    }

    public func routers() async throws(PaaSError) -> [RouterRecord] {
        try await read { session in
            try session.rows(
                """
                select r.id, r.seen_at,
                    case when r.table_id = p.table_id::text then r.revision else 0 end as revision
                from routers r, platform p order by r.id
                """
            ).map {
                RouterRecord(id: try $0.get("id"), revision: try $0.get("revision"), seenAt: try $0.get("seen_at"))
            }
        }
    }

    /// Forgets a router that is gone for good, so that nothing waits for its acknowledgements.
    public func removeRouter(_ id: String, now: Timestamp) async throws(PaaSError) {
        try await write(now: now) { transaction in
            let removed = try transaction.session.run("delete from routers where id = \(withoutNUL(id))")
            if removed.affectedRows > 0 {
                try transaction.updatePortStates()
                transaction.record("router.removed", space: nil, actor: nil, ["router": id])
            }
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
            var data = ["port": try row.get("name", as: String.self)]
            data["publicPort"] = "\(try row.get("public_port", as: Int.self))"
            data["reason"] = reason
            record(
                reason == nil ? "port.active" : "port.failed", app: try session.findApp(try row.get("app_id")),
                actor: nil, data)
        }
    }
}
