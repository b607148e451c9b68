public import Domain
import Postgres

extension PostgresStore: SchedulerStore {
    public func appIDs() async throws(PaaSError) -> [AppID] {
        try await read { session in
            try session.rows("select id from apps order by created_at, id").map { try $0.get("id", as: AppID.self) }
        }
    }

    public func snapshot(_ id: AppID) async throws(PaaSError) -> AppSnapshot? {
        try await read { session in
            guard let app = try session.findApp(id) else { return nil }
            return AppSnapshot(
                app: app, formation: try session.formation(id),
                current: try app.currentRelease.flatMap { try session.findRelease(id, version: $0) },
                candidate: try session.candidate(id), ports: try session.ports(id),
                instances: try session.rows(
                    "select * from instances where app_id = \(id) order by type, index, created_at, id"
                ).map { try ProcessInstance($0) },
                slots: try session.rows("select * from slots where app_id = \(id) order by type, index").map {
                    try AppSnapshot.Slot($0)
                },
                operations: try session.rows(
                    "select * from operations where app_id = \(id) and finished_at is null order by started_at, id"
                ).map { try Operation($0) },
                runs: try session.dueRuns(id), hasActiveBuild: try session.hasActiveBuild(id))
        }
    }

    public func recordEvent(kind: String, app id: AppID?, data: [String: String], now: Timestamp)
        async throws(PaaSError)
    {
        try await write(now: now) { transaction in
            let app = try id.flatMap { try transaction.session.findApp($0) }
            transaction.record(kind, app: app, actor: nil, data)
        }
    }

    public func finishOperation(
        _ id: OperationID, state: Operation.State, error: ErrorReport?, epoch: Int64, now: Timestamp
    ) async throws(PaaSError) {
        guard state.isFinal else {
            throw PaaSError(.internal, "an operation can't end in state \(state.rawValue)")
        }
        try await write(epoch: epoch, now: now) { try $0.closeOperation(id, state, error: error) }
    }

    public func setOperationProgress(_ id: OperationID, _ progress: Double, epoch: Int64) async throws(PaaSError) {
        let progress = progress.isFinite ? min(max(progress, 0), 1) : 0
        try await write(epoch: epoch, now: .now()) { transaction in
            _ = try transaction.session.run(
                """
                update operations set progress = \(progress),
                    state = case when state = 'starting' then 'processing' else state end
                where id = \(id) and finished_at is null
                """)
        }
    }

    public func removeApp(_ id: AppID, epoch: Int64, now: Timestamp) async throws(PaaSError) -> RemovedApp? {
        try await write(epoch: epoch, now: now) { transaction in
            let session = transaction.session
            guard try session.findApp(id) != nil else { return nil }
            let app = try transaction.lockApp(id)
            guard app.deleting else {
                throw PaaSError(.conflict, "app \(app.name) is not being deleted; delete it first")
            }
            if try session.hasActiveBuild(id) {
                throw PaaSError(.conflict, "a build of app \(app.name) has not ended yet; cancel it first")
            }
            var removed = RemovedApp(app: id)
            removed.builds = try session.rows("select id from builds where app_id = \(id) order by number").map {
                try $0.get("id")
            }
            let slugs = Set(
                try session.rows(
                    """
                    select slug from releases where app_id = \(id)
                    union select slug from builds where app_id = \(id) and slug is not null
                    """
                ).map { try $0.get("slug", as: SlugDigest.self) })
            for statement: SQL in [
                "delete from slots where app_id = \(id)", "delete from instances where app_id = \(id)",
                "delete from port_bindings where app_id = \(id)", "delete from formation_entries where app_id = \(id)",
                "delete from config_versions where app_id = \(id)", "delete from releases where app_id = \(id)",
                "delete from builds where app_id = \(id)",
                // The deletion's own operation stays, so that whoever polls it sees its end.
                "delete from operations where app_id = \(id) and kind <> 'delete-app'",
                """
                update operations set state = 'completed', progress = 1, finished_at = \(now)
                where app_id = \(id) and finished_at is null
                """,
                "delete from apps where id = \(id)",
            ] { try session.run(statement) }
            let othersBuild =
                try session.first("select 1 from builds where state in ('queued', 'running') limit 1") != nil
            for slug in slugs.sorted(by: { $0.hex < $1.hex }) {
                // Locked first: a release of another app that refers to it at this moment is waited for.
                try session.run("select 1 from slugs where digest = \(slug) for update")
                let gone = try session.run(
                    """
                    delete from slugs where digest = \(slug)
                        and not exists (select 1 from releases r where r.slug = \(slug))
                        and not exists (select 1 from builds b where b.slug = \(slug))
                    """)
                if gone.affectedRows > 0 && !othersBuild { removed.slugs.append(slug) }
            }
            _ = try transaction.raiseRoutingRevision()
            transaction.record("app.deleted", app: app, actor: nil)
            return removed
        }
    }
}

extension PostgresSession {
    fileprivate func hasActiveBuild(_ app: AppID) throws -> Bool {
        try first("select 1 from builds where app_id = \(app) and state in ('queued', 'running')") != nil
    }
}
