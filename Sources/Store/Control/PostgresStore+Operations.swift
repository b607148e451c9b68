public import Domain
import Postgres

extension PostgresStore {
    /// Rows that one call lists at most.
    public static let maximumListed = 10_000

    public func operation(_ id: OperationID, for principal: Principal) async throws(PaaSError) -> Operation {
        try await read { session in
            guard
                let row = try session.first(
                    """
                    select * from operations
                    where id = \(id) and (\(principal.space)::uuid is null or space_id = \(principal.space))
                    """)
            else { throw PaaSError(.notFound, "there is no operation \(id)") }
            return try Operation(row)
        }
    }

    public func events(after: Int64, limit: Int, app: String?, for principal: Principal) async throws(PaaSError)
        -> [Event]
    {
        if let app, app.utf8.contains(0) { return [] }
        return try await read { session in
            try session.rows(
                """
                select * from events
                where id > \(after) and (\(app)::text is null or app = \(app))
                    and (\(principal.space)::uuid is null or space_id = \(principal.space))
                order by id limit \(min(max(0, limit), Self.maximumListed))
                """
            ).map { try Event($0) }
        }
    }

    public func lastEventID() async throws(PaaSError) -> Int64 {
        try await read { try $0.one("select last_event_id from counters").get("last_event_id") }
    }

    public func ping() async throws(PaaSError) {
        _ = try await read { try $0.one("select 1::bigint as one").get("one", as: Int.self) }
    }

    public func counts() async throws(PaaSError) -> PlatformCounts {
        try await read { session in
            let row = try session.one(
                """
                select (select count(*) from apps where not deleting) as apps,
                    (select count(*) from instances where state = 'up') as up,
                    (select coalesce(sum(f.quantity), 0)::bigint from formation_entries f
                        join apps a on a.id = f.app_id
                        join releases r on r.app_id = a.id and r.version = a.current_release
                        where not a.deleting and r.process_types ? f.type) as wanted,
                    (select count(*) from builds where state in ('queued', 'running')) as builds
                """)
            return PlatformCounts(
                apps: try row.get("apps"), processesUp: try row.get("up"), processesWanted: try row.get("wanted"),
                activeBuilds: try row.get("builds"),
                processStates: try Self.states(session, "select state, count(*) as n from instances group by state"),
                buildStates: try Self.states(session, "select state, count(*) as n from builds group by state"))
        }
    }

    private static func states(_ session: PostgresSession, _ query: SQL) throws -> [String: Int] {
        var counts: [String: Int] = [:]
        for row in try session.rows(query) { counts[try row.get("state")] = try row.get("n") }
        return counts
    }

    public func databaseLoad() -> DatabaseLoad {
        let load = pool.load
        return DatabaseLoad(connections: load.connections, idle: load.idle, waiting: load.waiting)
    }
}
