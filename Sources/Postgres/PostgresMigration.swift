/// One step of the schema. Numbers start at 1 and have no gaps; a step that was released is never changed.
public struct PostgresMigration: Sendable {
    public var number: Int
    public var name: String
    public var sql: String
    public init(number: Int, name: String, sql: String) {
        self.number = number
        self.name = name
        self.sql = sql
    }
}

extension PostgresPool {
    /// Applies, in one transaction and under an advisory lock, the steps that the database doesn't have yet.
    /// - Returns: the numbers that were applied now.
    /// - Throws: `schema` if the database has steps that this program doesn't know.
    @discardableResult
    public func migrate(_ migrations: [PostgresMigration], lockKey: Int64) async throws -> [Int] {
        let ordered = migrations.sorted { $0.number < $1.number }
        precondition(ordered.map(\.number) == Array(1...max(1, ordered.count)), "migrations are numbered from 1")
        return try await transaction { session in
            try session.run(script: "set local statement_timeout = 0; set local lock_timeout = 0")
            try session.run("select pg_advisory_xact_lock(\(lockKey))")
            try session.run(
                script: """
                    create table if not exists schema_migrations (
                        number bigint primary key, name text not null, applied_at timestamptz not null default now())
                    """)
            let done: Int64 = try session.one("select coalesce(max(number), 0) as newest from schema_migrations")
                .get("newest")
            guard done <= Int64(ordered.count) else {
                throw PostgresError(
                    .schema,
                    "the database has schema \(done), this program knows only up to \(ordered.count); use the newer program"
                )
            }
            let missing = ordered.filter { $0.number > Int(done) }
            for migration in missing {
                try session.run(script: migration.sql)
                try session.run(
                    "insert into schema_migrations (number, name) values (\(migration.number), \(migration.name))")
            }
            return missing.map(\.number)
        }
    }
}
