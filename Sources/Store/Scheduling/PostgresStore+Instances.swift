public import Domain
import Postgres

extension PostgresStore {
    public func insertPlanned(_ instances: [ProcessInstance], epoch: Int64) async throws(PaaSError) {
        try await write(epoch: epoch, now: .now()) { transaction in
            for instance in instances {
                try transaction.session.run(
                    """
                    insert into instances (id, app_id, type, index, release, generation, epoch, state, restarts,
                        created_at, since, replace_requested)
                    values (\(instance.id), \(instance.app), \(instance.type), \(instance.index),
                        \(instance.release), \(instance.generation), \(epoch), 'planned', \(instance.restarts),
                        \(instance.createdAt), \(instance.since), \(instance.replaceRequested))
                    on conflict (id) do nothing
                    """)
            }
        }
    }

    public func markStarting(_ id: InstanceID, _ observation: ContainerObservation, epoch: Int64, now: Timestamp)
        async throws(PaaSError)
    {
        try await write(epoch: epoch, now: now) { transaction in
            let (instance, _) = try transaction.lockInstance(id)
            try transaction.observe(instance, observation)
            if instance.state == .planned {
                try transaction.session.run(
                    "update instances set state = 'starting', since = \(now) where id = \(id)")
            }
        }
    }

    public func markUp(_ id: InstanceID, _ observation: ContainerObservation, epoch: Int64, now: Timestamp)
        async throws(PaaSError) -> Int64
    {
        try await write(epoch: epoch, now: now) { transaction in
            let (instance, app) = try transaction.lockInstance(id)
            switch instance.state {
            case .planned, .starting, .unhealthy, .up: break
            case .stopping, .crashed, .exited:
                throw PaaSError(.conflict, "process \(instance.name) is \(instance.state.rawValue), it can't come up")
            }
            try transaction.observe(instance, observation)
            let sameAddress =
                (observation.address4 ?? instance.address4) == instance.address4
                && (observation.address6 ?? instance.address6) == instance.address6
            if instance.state == .up && sameAddress { return try transaction.routingRevision() }
            try transaction.session.run(
                """
                update instances set state = 'up', since = \(now), up_at = coalesce(up_at, \(now)),
                    unrouted_revision = null,
                    was_routed = was_routed or exists (select 1 from port_bindings b
                        where b.app_id = instances.app_id and b.process_type = instances.type)
                where id = \(id)
                """)
            if instance.state != .up {
                transaction.record(
                    "process.up", app: app, actor: nil,
                    ["process": instance.name, "release": "\(instance.release)", "instance": "\(id)"])
            }
            return try transaction.raiseRoutingRevision()
        }
    }

    public func unroute(_ ids: [InstanceID], reason: String, epoch: Int64, now: Timestamp) async throws(PaaSError)
        -> Int64
    {
        try await write(epoch: epoch, now: now) { transaction in
            let session = transaction.session
            let values = PostgresValue.uuids(ids.map(\.uuid))
            let leaving = try session.rows(
                """
                select id, state from instances
                where id = any(\(values)) and state in ('planned', 'starting', 'up', 'unhealthy')
                order by id for update
                """)
            if leaving.isEmpty { return try transaction.routingRevision() }
            try session.run(
                """
                update instances set state = 'stopping', since = \(now), reason = \(withoutNUL(reason))
                where id = any(\(values)) and state in ('planned', 'starting', 'up', 'unhealthy')
                """)
            let wasRouted = try leaving.contains { try $0.get("state", as: String.self) == "up" }
            let revision = wasRouted ? try transaction.raiseRoutingRevision() : try transaction.routingRevision()
            try session.run(
                """
                update instances set unrouted_revision = \(revision)
                where id = any(\(values)) and state = 'stopping' and unrouted_revision is null
                """)
            return revision
        }
    }

    public func markCrashed(
        _ id: InstanceID, exitCode: Int32?, reason: String, slotRestarts: Int, nextStartAt: Timestamp, epoch: Int64,
        now: Timestamp
    ) async throws(PaaSError) -> Int64 {
        try await write(epoch: epoch, now: now) { transaction in
            let (instance, app) = try transaction.lockInstance(id)
            if instance.state == .crashed || instance.state == .exited { return try transaction.routingRevision() }
            let reason = withoutNUL(reason)
            try transaction.session.run(
                """
                insert into slots (app_id, type, index, release, restarts, next_start_at)
                values (\(instance.app), \(instance.type), \(instance.index), \(instance.release), \(slotRestarts),
                    \(nextStartAt))
                on conflict (app_id, type, index) do update set release = excluded.release,
                    restarts = excluded.restarts, next_start_at = excluded.next_start_at
                """)
            transaction.record(
                "process.crashed", app: app, actor: nil,
                [
                    "process": instance.name, "release": "\(instance.release)", "reason": reason,
                    "exitCode": exitCode.map { "\($0)" } ?? "", "restarts": "\(slotRestarts)",
                ])
            return try transaction.end(instance, .crashed, exitCode: exitCode, reason: reason)
        }
    }

    public func markExited(_ id: InstanceID, exitCode: Int32?, epoch: Int64, now: Timestamp) async throws(PaaSError) {
        try await write(epoch: epoch, now: now) { transaction in
            let (instance, app) = try transaction.lockInstance(id)
            if instance.state == .crashed || instance.state == .exited { return }
            transaction.record(
                "process.stopped", app: app, actor: nil,
                [
                    "process": instance.name, "release": "\(instance.release)",
                    "exitCode": exitCode.map { "\($0)" } ?? "",
                ])
            _ = try transaction.end(instance, .exited, exitCode: exitCode, reason: instance.reason)
        }
    }

    public func setStopAt(_ id: InstanceID, _ at: Timestamp, epoch: Int64) async throws(PaaSError) {
        try await write(epoch: epoch, now: at) { transaction in
            let changed = try transaction.session.run("update instances set stop_at = \(at) where id = \(id)")
            guard changed.affectedRows == 1 else { throw Self.noInstance(id) }
        }
    }

    public func removeInstance(_ id: InstanceID, epoch: Int64) async throws(PaaSError) {
        try await write(epoch: epoch, now: .now()) { transaction in
            _ = try transaction.session.run("delete from instances where id = \(id)")
        }
    }

    public func resetSlot(_ app: AppID, type: String, index: Int, epoch: Int64) async throws(PaaSError) {
        try await write(epoch: epoch, now: .now()) { transaction in
            _ = try transaction.session.run(
                "delete from slots where app_id = \(app) and type = \(type) and index = \(index)")
        }
    }

    static func noInstance(_ id: InstanceID) -> PaaSError { PaaSError(.notFound, "there is no process instance \(id)") }
}

extension StoreTransaction {
    fileprivate func lockInstance(_ id: InstanceID) throws -> (instance: ProcessInstance, app: App) {
        guard let row = try session.first("select * from instances where id = \(id) for update") else {
            throw PostgresStore.noInstance(id)
        }
        let instance = try ProcessInstance(row)
        return (instance, try session.app(instance.app))
    }

    /// Writes what the engine chose and saw. What it does not know (any more) stays.
    fileprivate func observe(_ instance: ProcessInstance, _ seen: ContainerObservation) throws {
        try session.run(
            """
            update instances set node = \(seen.node), boot_id = \(seen.bootID),
                address4 = coalesce(\(seen.address4), address4), address6 = coalesce(\(seen.address6), address6),
                pid = coalesce(\(seen.pid), pid), pid_start_time = coalesce(\(seen.pidStartTime), pid_start_time)
            where id = \(instance.id)
            """)
    }

    /// `crashed` or `exited`. The revision from which on no router may send to it.
    fileprivate func end(
        _ instance: ProcessInstance, _ state: ProcessInstance.State, exitCode: Int32?, reason: String?
    ) throws -> Int64 {
        try session.run(
            """
            update instances set state = \(state.rawValue), since = \(now), exit_code = \(exitCode),
                reason = \(reason) where id = \(instance.id)
            """)
        let revision = instance.state == .up ? try raiseRoutingRevision() : try routingRevision()
        try session.run(
            """
            update instances set unrouted_revision = coalesce(unrouted_revision, \(revision))
            where id = \(instance.id)
            """)
        return revision
    }
}
