import FoundationEssentials
import Postgres
import Synchronization
import Testing

private final class Counter: Sendable {
    let value = Mutex(0)
}

@Suite(.serialized) struct PostgresTests {
    private func pool(_ size: Int = 3, acquire: Double = 20) throws -> PostgresPool {
        try PostgresPool(configuration(size, acquire: acquire))
    }

    private func configuration(_ size: Int = 3, acquire: Double = 20) throws -> PostgresConfiguration {
        PostgresConfiguration(
            connection: try TestCluster.shared().createDatabase(), poolSize: size, acquireTimeoutSeconds: acquire)
    }

    @Test func interpolationBindsAndRenumbers() {
        let inner: SQL = "a = \(1) and b = \("x'; drop table y")"
        let outer: SQL = "select \(true) where \(inner) or c = \(nil as String?)"
        #expect(outer.text == "select $1 where a = $2 and b = $3 or c = $4")
        #expect(outer.values == [.bool(true), .int(1), .text("x'; drop table y"), .null])
        var many: SQL = "\(0)"
        for n in 1...11 { many = "\(many), \(n)" }
        let shifted: SQL = "\(100), \(many)"
        #expect(shifted.text == (1...13).map { "$\($0)" }.joined(separator: ", "))
    }

    @Test func valuesComeBackAsTheyWere() async throws {
        let pool = try pool()
        defer { pool.close() }
        let uuid = UUID()
        let text = "it's \"ünï\" $1 \\ ; -- \n 🚀"
        let bytes = (0...255).map { UInt8($0) }
        let time: Int64 = 1_795_000_000_123_456
        try await pool.transaction { session in
            let row = try session.one(
                """
                select \(text)::text as t, \(bytes)::bytea as b, \(uuid)::uuid as u,
                    \(PostgresValue.timestamp(time))::timestamptz as at, \(Int64.min)::bigint as i, \(true) as yes,
                    \(PostgresValue.json(#"{"a":[1]}"#))::jsonb as j, \(nil as String?)::text as n,
                    \(PostgresValue.uuids([uuid]))::uuid[] @> array[\(uuid)] as contained, 1.5::float8 as d
                """)
            #expect(try row.get("t") == text)
            #expect(try row.get("b") == bytes)
            #expect(try row.get("u") == uuid)
            #expect(try row.get("at", as: PostgresTimestamp.self).microseconds == time)
            #expect(try row.get("i") == Int64.min)
            #expect(try row.get("yes") == true)
            #expect(try row.get("j") == #"{"a": [1]}"#)
            #expect(try row.get("n", as: String?.self) == nil)
            #expect(try row.get("contained") == true)
            #expect(try row.get("d") == 1.5)
            #expect(throws: PostgresError.self) { try row.get("n", as: String.self) }
            #expect(throws: PostgresError.self) { try row.get("t", as: Int.self) }
            #expect(throws: PostgresError.self) { try row.get("nothing", as: Int.self) }
        }
    }

    @Test func errorsCarryTheStateButNoValue() async throws {
        let pool = try pool()
        defer { pool.close() }
        let secret = "hunter2-very-secret"
        let statements: [SQL] = [
            "select \(secret)::text::int", "select \(secret + "\0")::text", "select * from t where v = \(secret)",
            "insert into t (v) values (\(secret))",
        ]
        try await pool.transaction {
            try $0.run(script: "create table t (v text unique); insert into t values ('hunter2-very-secret')")
        }
        for statement in statements {
            do {
                try await pool.transaction { _ = try $0.run(statement) }
            } catch {
                let known = try #require(error as? PostgresError)
                #expect(known.sqlState != nil)
                #expect(!"\(known) \(String(reflecting: known))".contains("hunter2"))
            }
        }
        let duplicate = await #expect(throws: PostgresError.self) {
            try await pool.transaction { _ = try $0.run("insert into t (v) values (\(secret))") }
        }
        #expect(duplicate?.isUniqueViolation == true)
        #expect(duplicate?.constraint == "t_v_key")
        #expect(!"\(PostgresConfiguration(connection: "postgresql://u:hunter2@h/d"))".contains("hunter2"))
        let bad = #expect(throws: PostgresError.self) {
            try PostgresPool(PostgresConfiguration(connection: "postgresql://u:hunter2@h:x y/d?hunter2"))
        }
        #expect(bad?.description.contains("hunter2") == false)
    }

    @Test func whatFailsLeavesNothing() async throws {
        let pool = try pool(1)
        defer { pool.close() }
        try await pool.transaction { try $0.run(script: "create table t (n bigint)") }
        struct Stop: Error {}
        await #expect(throws: Stop.self) {
            try await pool.transaction { session in
                try session.run("insert into t values (1)")
                throw Stop()
            }
        }
        // A failed statement that the body swallows still can't commit.
        await #expect(throws: PostgresError.self) {
            try await pool.transaction { session in
                try session.run("insert into t values (2)")
                _ = try? session.run("select 1/0")
            }
        }
        let count: Int = try await pool.transaction { try $0.one("select count(*) as n from t").get("n") }
        #expect(count == 0)
        await #expect(throws: PostgresError.self) {
            try await pool.transaction(.snapshot) { _ = try $0.run("insert into t values (3)") }
        }
    }

    @Test func deadlocksAreRunAgain() async throws {
        let pool = try pool(2)
        defer { pool.close() }
        try await pool.transaction {
            try $0.run(script: "create table t (id bigint primary key, n bigint); insert into t values (1,0),(2,0)")
        }
        let met = Counter()
        @Sendable func add(_ first: Int, _ second: Int) async throws {
            try await pool.transaction { session in
                try session.run("update t set n = n + 1 where id = \(first)")
                met.value.withLock { $0 += 1 }
                while met.value.withLock({ $0 }) < 2 { try session.run("select pg_sleep(0.005)") }
                try session.run("update t set n = n + 1 where id = \(second)")
            }
        }
        async let one: Void = add(1, 2)
        async let two: Void = add(2, 1)
        _ = try await (one, two)
        let sum: Int = try await pool.transaction { try $0.one("select sum(n)::bigint as n from t").get("n") }
        #expect(sum == 4)
        // Once more for each deadlock, of which there can be several.
        #expect(met.value.withLock { $0 } >= 3)
    }

    @Test func aBusyPoolRefusesAfterItsDeadline() async throws {
        let pool = try pool(1, acquire: 0.1)
        defer { pool.close() }
        let running = Counter()
        async let busy: Void = pool.transaction { session in
            running.value.withLock { $0 = 1 }
            while running.value.withLock({ $0 }) < 2 { try session.run("select pg_sleep(0.01)") }
        }
        #expect(await eventually { running.value.withLock { $0 } == 1 })
        let error = await #expect(throws: PostgresError.self) { try await pool.transaction { _ in } }
        #expect(error?.kind == .poolTimeout)
        running.value.withLock { $0 = 2 }
        try await busy
        // The worker is free only a moment after its answer.
        #expect(await eventually { (try? await pool.transaction { _ in }) != nil })
        pool.close()
        let closed = await #expect(throws: PostgresError.self) { try await pool.transaction { _ in } }
        #expect(closed?.kind == .closed)
    }

    @Test func statementsEndAtTheTimeout() async throws {
        var configuration = try configuration(1)
        configuration.statementTimeoutSeconds = 1
        let pool = try PostgresPool(configuration)
        defer { pool.close() }
        let error = await #expect(throws: PostgresError.self) {
            try await pool.transaction { _ = try $0.run("select pg_sleep(20)") }
        }
        #expect(error?.sqlState == "57014")
        #expect(error?.isUnavailability == true)
    }

    @Test func aKilledBackendIsReplaced() async throws {
        let configuration = try configuration(1)
        let pool = try PostgresPool(configuration)
        let other = try PostgresPool(configuration)
        defer {
            pool.close()
            other.close()
        }
        let backend: Int = try await pool.transaction { try $0.one("select pg_backend_pid() as pid").get("pid") }
        try await other.transaction { _ = try $0.run("select pg_terminate_backend(\(backend)::int)") }
        let next: Int = try await pool.transaction { try $0.one("select pg_backend_pid() as pid").get("pid") }
        #expect(next != backend)
    }

    @Test func migrationsRunOnceAndInOrder() async throws {
        let configuration = try configuration()
        let steps = [
            PostgresMigration(number: 1, name: "one", sql: "create table a (n bigint); create table log (n bigint)"),
            PostgresMigration(number: 2, name: "two", sql: "alter table a add m text; insert into log values (2)"),
        ]
        let pools = try (0..<3).map { _ in try PostgresPool(configuration) }
        defer { for pool in pools { pool.close() } }
        let applied = try await withThrowingTaskGroup(of: [Int].self) { group in
            for pool in pools { group.addTask { try await pool.migrate(steps, lockKey: 7) } }
            return try await group.reduce(into: []) { $0 += $1 }
        }
        #expect(applied == [1, 2])
        let older = await #expect(throws: PostgresError.self) {
            try await pools[0].migrate(Array(steps.prefix(1)), lockKey: 7)
        }
        #expect(older?.kind == .schema)
        let broken = steps + [PostgresMigration(number: 3, name: "bad", sql: "create table b (n bigint); select 1/0")]
        await #expect(throws: PostgresError.self) { try await pools[0].migrate(broken, lockKey: 7) }
        let left: Bool = try await pools[0].transaction {
            try $0.one("select to_regclass('b') is null as gone").get("gone")
        }
        #expect(left)
    }

    @Test func theLockIsExclusiveAndItsLossIsTold() async throws {
        let configuration = try configuration(1)
        let pool = try PostgresPool(configuration)
        defer { pool.close() }
        let lock = try #require(try await PostgresAdvisoryLock.acquire(configuration, key: 5, waitSeconds: 1))
        let second = try await PostgresAdvisoryLock.acquire(configuration, key: 5, waitSeconds: 0.2)
        #expect(second == nil)
        try await pool.transaction { session in
            _ = try session.run(
                "select pg_terminate_backend(pid) from pg_locks where locktype = 'advisory' and objid = 5")
        }
        await lock.waitUntilLost()
        let third = try #require(try await PostgresAdvisoryLock.acquire(configuration, key: 5, waitSeconds: 5))
        third.release()
        await third.waitUntilLost()
        let fourth = try await PostgresAdvisoryLock.acquire(configuration, key: 5, waitSeconds: 5)
        #expect(fourth != nil)
    }

    @Test func notificationsArriveAlsoAfterALostConnection() async throws {
        let configuration = try configuration(1)
        let pool = try PostgresPool(configuration)
        let listener = try PostgresListener(configuration, channel: "hints")
        defer { pool.close() }
        var hints = listener.hints.makeAsyncIterator()
        #expect(await hints.next() == "")
        try await pool.transaction { _ = try $0.run("select pg_notify('hints', 'one')") }
        #expect(await hints.next() == "one")
        try await pool.transaction { session in
            _ = try session.run(
                "select pg_terminate_backend(pid) from pg_stat_activity where pid <> pg_backend_pid() and datname = current_database()"
            )
        }
        #expect(await hints.next() == "")
        try await pool.transaction { _ = try $0.run("select pg_notify('hints', 'two')") }
        #expect(await hints.next() == "two")
        // Each comes while the listener asks whether the server is there, and must not wait for its next round.
        let start = ContinuousClock.now
        for number in 1...100 {
            try await pool.transaction { _ = try $0.run("select pg_notify('hints', \("\(number)"))") }
            #expect(await hints.next() == "\(number)")
        }
        #expect(ContinuousClock.now - start < .seconds(5))
        listener.close()
        #expect(await hints.next() == nil)
    }

    @Test func anUnreachableServerIsAnError() async throws {
        let pool = try PostgresPool(
            PostgresConfiguration(connection: "postgresql:///x?host=/nonexistent/socket", poolSize: 1))
        defer { pool.close() }
        let error = await #expect(throws: PostgresError.self) { try await pool.transaction { _ in } }
        #expect(error?.kind == .connection)
        #expect(error?.isUnavailability == true)
    }
}
