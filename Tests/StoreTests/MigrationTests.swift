import Domain
import Postgres
import Testing

@testable import Store

@Suite struct MigrationTests {
    /// What an older program wrote keeps its meaning.
    @Test func anOlderSchemaIsBroughtUpToDate() async throws {
        let url = try TestCluster.shared().createDatabase()
        let configuration = PostgresConfiguration(connection: url, poolSize: 2)
        let pool = try PostgresPool(configuration)
        defer { pool.close() }
        try await pool.migrate([Migrations.migration001], lockKey: Migrations.lockKey)
        let digest = try Harness.slug(3).digest
        let (app, build, instance) = (AppID.random(), BuildID.random(), InstanceID.random())
        try await pool.transaction { session in
            try session.run(
                """
                insert into apps (id, name, space_id, uid_slot, stack, buildpacks, labels, no_ports, created_at, updated_at)
                select \(app), 'alpha', id, 0, 'debian-13', '[]', '{}', false, now(), now() from spaces
                """)
            try session.run(
                """
                insert into slugs (digest, stack, size_bytes, image_bytes, process_types, created_at)
                values (\(digest), 'debian-13', 1, 1, '{"web": "./server"}', now())
                """)
            try session.run(
                """
                insert into builds (id, app_id, number, state, source, options, stack, slug, operation_id, created_by,
                    created_at)
                values (\(build), \(app), 1, 'succeeded', '{"kind": "push"}',
                    '{"noWait": false, "buildOnly": true, "clearCache": false}', 'debian-13', \(digest),
                    gen_random_uuid(), 'admin', now())
                """)
            try session.run(
                """
                insert into instances (id, app_id, type, index, release, generation, epoch, state, restarts, created_at,
                    since, replace_requested)
                values (\(instance), \(app), 'web', 1, 1, 1, 1, 'up', 0, now(), now(), false)
                """)
        }
        let store = try Harness.open(url)
        defer { store.close() }
        #expect(try await store.beginEpoch().epoch == 1)
        let admin = Principal(token: .random(), name: "admin", role: .admin, space: nil)
        let release = try await store.release(app, slug: digest, actor: admin, now: .now()).release
        #expect(release.processTypes == ["web": "./server"] && release.stack == "debian-13")
        // Nobody knows whether it was routed, so it is drained.
        #expect(try await store.processes(app).map(\.wasRouted) == [true])
    }

    /// `postdeploy` was a process type like any other once. An instance of it must not keep its app from anything.
    @Test func aProcessOfATypeThatIsReservedNowComesToItsEnd() async throws {
        let url = try TestCluster.shared().createDatabase()
        let pool = try PostgresPool(PostgresConfiguration(connection: url, poolSize: 2))
        defer { pool.close() }
        try await pool.migrate([Migrations.migration001], lockKey: Migrations.lockKey)
        let digest = try Harness.slug(3).digest
        let (app, row) = (AppID.random(), InstanceID.random())
        try await pool.transaction { session in
            try session.run(
                """
                insert into apps (id, name, space_id, uid_slot, stack, buildpacks, labels, no_ports, created_at, updated_at)
                select \(app), 'alpha', id, 0, 'debian-13', '[]', '{}', false, now(), now() from spaces
                """)
            try session.run(
                """
                insert into slugs (digest, stack, size_bytes, image_bytes, process_types, created_at)
                values (\(digest), 'debian-13', 1, 1, '{"postdeploy": "./x"}', now())
                """)
            try session.run(
                """
                insert into builds (id, app_id, number, state, source, options, stack, slug, operation_id, created_by,
                    created_at)
                values (\(BuildID.random()), \(app), 1, 'succeeded', '{"kind": "push"}',
                    '{"noWait": false, "buildOnly": true, "clearCache": false}', 'debian-13', \(digest),
                    gen_random_uuid(), 'admin', now())
                """)
            for type in ["web", "postdeploy"] {
                try session.run(
                    """
                    insert into formation_entries (app_id, type, quantity, memory_bytes, cpu_millis, qos)
                    values (\(app), \(type), 1, 1, 1, 'burstable')
                    """)
                try session.run(
                    """
                    insert into slots (app_id, type, index, release, restarts, next_start_at)
                    values (\(app), \(type), 1, 1, 0, now())
                    """)
            }
            try session.run(
                """
                insert into instances (id, app_id, type, index, release, generation, epoch, state, restarts, created_at,
                    since, replace_requested)
                values (\(row), \(app), 'postdeploy', 1, 1, 1, 1, 'up', 0, now(), now(), false)
                """)
        }
        let store = try Harness.open(url)
        defer { store.close() }
        let epoch = try await store.beginEpoch().epoch
        let admin = Principal(token: .random(), name: "admin", role: .admin, space: nil)
        _ = try await store.release(app, slug: digest, actor: admin, now: .now())
        let snapshot = try #require(try await store.snapshot(app))
        #expect(snapshot.formation.keys.sorted() == ["web"] && snapshot.slots.map(\.type) == ["web"])
        let end = ReleaseRunEnd(kind: .postdeploy, version: 1, instance: row, result: .stopped, exitCode: 143)
        try await store.endRun(app, end, output: "", epoch: epoch, now: .now())
        #expect(try await store.processes(app).map(\.state) == [.exited])
    }
}
