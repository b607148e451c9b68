public import Domain
import Postgres

extension PostgresStore {
    public func spaces(for principal: Principal) async throws(PaaSError) -> [Space] {
        try await read { session in
            try session.rows(
                """
                select * from spaces where \(principal.space)::uuid is null or id = \(principal.space) order by name
                """
            ).map { try Space($0) }
        }
    }

    public func putSpace(name: String, actor: Principal, now: Timestamp) async throws(PaaSError) -> (
        space: Space, created: Bool
    ) {
        try Names.validate(name, "space")
        let capacity = capacity
        return try await write(now: now) { transaction in
            let session = transaction.session
            try session.run("select pg_advisory_xact_lock(\(Migrations.allocationLockKey))")
            if let space = try session.findSpace(named: name), actor.maySee(space: space.id) { return (space, false) }
            guard actor.mayMakeSpaces else {
                throw PaaSError(
                    .forbidden, "only admin and operator tokens without a space make spaces; use one of those")
            }
            let index: Int = try session.one(
                """
                select coalesce((select 0 where not exists (select 1 from spaces where network_index = 0)),
                    (select min(network_index) + 1 from spaces s where not exists
                        (select 1 from spaces n where n.network_index = s.network_index + 1))) as free
                """
            ).get("free")
            guard index < capacity.spaces else {
                throw PaaSError(
                    .exhausted,
                    "PAAS_SUBNETS has room for \(capacity.spaces) spaces, and all are in use; use one of them, or ask the operator for a larger IPv4 network"
                )
            }
            let space = Space(id: .random(), name: name, networkIndex: index, createdAt: now)
            try session.run(
                """
                insert into spaces (id, name, network_index, created_at)
                values (\(space.id), \(name), \(index), \(now))
                """)
            transaction.record("space.created", space: space, actor: actor.name)
            return (space, true)
        }
    }
}
