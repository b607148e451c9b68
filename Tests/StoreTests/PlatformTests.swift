import Domain
import Postgres
import Store
import Testing

@Suite(.serialized) struct PlatformTests {
    @Test func tokensAreFoundByTheirHashOnly() async throws {
        try await Harness.run { h in
            func hash(_ byte: UInt8) -> [UInt8] { [UInt8](repeating: byte, count: 32) }
            let now = h.now()
            try await h.store.ensureAdminToken(secretHash: hash(1), now: now)
            try await h.store.ensureAdminToken(secretHash: hash(1), now: now)
            #expect(try await h.store.principal(secretHash: hash(1), now: now)?.name == "admin")
            try await h.store.ensureAdminToken(secretHash: hash(2), now: now)
            #expect(try await h.store.principal(secretHash: hash(1), now: now) == nil)
            let admin = try #require(try await h.store.principal(secretHash: hash(2), now: now))
            #expect(admin.role == .admin && admin.space == nil)
            try await refused(.conflict) { try await h.store.revokeToken(admin.token, actor: admin, now: now) }

            _ = try await h.store.putSpace(name: "team", actor: admin, now: now)
            let expiry = now.adding(seconds: 60)
            let token = try await h.store.createToken(
                role: .developer, space: "team", expiresAt: expiry, secretHash: hash(3), actor: admin, now: now)
            let principal = try #require(try await h.store.principal(secretHash: hash(3), now: now))
            #expect(principal.name == "developer:\(token.id.description.prefix(8))" && principal.space == token.space)
            #expect(try await h.store.principal(secretHash: hash(3), now: expiry) == nil)
            try await refused(.conflict) {
                try await h.store.createToken(
                    role: .viewer, space: nil, expiresAt: nil, secretHash: hash(3), actor: admin, now: now)
            }
            try await refused(.invalid) {
                try await h.store.createToken(
                    role: .viewer, space: nil, expiresAt: now, secretHash: hash(4), actor: admin, now: now)
            }
            try await refused(.notFound) {
                try await h.store.createToken(
                    role: .viewer, space: "nope", expiresAt: nil, secretHash: hash(4), actor: admin, now: now)
            }
            try await refused(.forbidden) {
                try await h.store.createToken(
                    role: .admin, space: nil, expiresAt: nil, secretHash: hash(4), actor: principal, now: now)
            }
            try await h.store.revokeToken(token.id, actor: admin, now: now)
            try await h.store.revokeToken(token.id, actor: admin, now: now)
            #expect(try await h.store.principal(secretHash: hash(3), now: now) == nil)
            try await refused(.notFound) { try await h.store.revokeToken(.random(), actor: admin, now: now) }
            #expect(try await h.store.tokens().map(\.role) == [.admin, .developer])
            #expect(
                try await h.kinds() == [
                    "token.created", "token.replaced", "space.created", "token.created", "token.revoked",
                ])
        }
    }

    @Test func waitingForASuccessorEndsWithItsTask() async throws {
        try await Harness.run { h in
            let waiting = Task { await h.store.waitUntilSuperseded() }
            waiting.cancel()
            #expect(await waiting.value == false)
        }
    }

    @Test func anOlderEpochIsRefused() async throws {
        try await Harness.run { h in
            let app = try await h.app("alpha")
            try await h.deploy(app)
            let (instance, _) = try await h.up(app)
            // The lock is held: a second paasd doesn't begin.
            let second = try Harness.open(h.url)
            defer { second.close() }
            try await refused(.conflict) { try await second.beginEpoch(waitSeconds: 0.3) }
            let pool = try PostgresPool(PostgresConfiguration(connection: h.url, poolSize: 1))
            defer { pool.close() }
            // Another one was quicker while the connection that holds the lock was cut.
            try await pool.transaction { session in
                _ = try session.run("update platform set epoch = epoch + 1")
                _ = try session.run(
                    """
                    select pg_terminate_backend(pid) from pg_locks where locktype = 'advisory' and granted
                        and database = (select oid from pg_database where datname = current_database())
                    """)
            }
            #expect(await h.store.waitUntilSuperseded())
            // The one that lost has let go of the lock.
            #expect(try await second.beginEpoch(waitSeconds: 20).epoch == h.epoch + 2)
            let now = h.now()
            try await refused(.stale) { try await h.plan(app) }
            // Also what comes through the API and from builds.
            try await refused(.stale) { try await h.set(app, ["A": "1"]) }
            try await refused(.stale) { try await h.openBuild(app) }
            try await refused(.stale) {
                try await h.store.markUp(instance.id, h.seen(instance), epoch: h.epoch, now: now)
            }
            try await refused(.stale) { try await h.store.unroute([instance.id], reason: "", epoch: h.epoch, now: now) }
            try await refused(.stale) { try await h.store.markRolling(app.id, version: 1, epoch: h.epoch, now: now) }
            try await refused(.stale) { try await h.store.removeApp(app.id, epoch: h.epoch, now: now) }
            try await refused(.stale) { try await h.store.setOperationProgress(.random(), 1, epoch: h.epoch) }
            #expect(try await h.store.processes(app.id).count == 1)
        }
    }

    @Test func anEpochIsAboveEveryOneThatIsKnown() async throws {
        try await Harness.run { h in
            let app = try await h.app("alpha")
            let before = try await h.store.routingMark(bootID: "b")
            h.store.close()
            let second = try Harness.open(h.url)
            defer { second.close() }
            // Nothing is written before the epoch has begun.
            try await second.migrate()
            try await refused(.unavailable) {
                try await second.recordEvent(kind: "note", app: app.id, data: [:], now: h.now())
            }
            try await refused(.invalid) {
                try await second.beginEpoch(platformID: "00000000-0000-0000-0000-000000000000", waitSeconds: 20)
            }
            let term = try await second.beginEpoch(atLeast: 70, waitSeconds: 20)
            #expect(term.epoch == 71 && term.wasBehind)
            // A database that was put back may be at a revision that routers know with another content.
            #expect(try await second.routingMark(bootID: "b").tableID != before.tableID)
            second.close()
            let third = try Harness.open(h.url)
            defer { third.close() }
            let next = try await third.beginEpoch(atLeast: 71, platformID: term.platformID, waitSeconds: 20)
            #expect(next.epoch == 72 && !next.wasBehind && next.platformID == term.platformID)
        }
    }

    @Test func withoutTheDatabaseCallsFailAndThenWorkAgain() async throws {
        let cluster = try TestCluster()
        defer { cluster.stop() }
        try await Harness.run(cluster: cluster) { h in
            let app = try await h.app("alpha")
            try await h.deploy(app)
            cluster.kill9()
            for _ in 0..<3 {
                let error = try await refused(.unavailable) { try await h.store.ping() }
                #expect(error.message == "database is not reachable; retry" && error.retry == .safe)
            }
            try await refused(.unavailable) { try await h.app("beta") }
            try await refused(.unavailable) { try await h.store.snapshot(app.id) }
            try cluster.start()
            #expect(
                await eventually {
                    do {
                        try await h.store.ping()
                        return true
                    } catch { return false }
                })
            #expect(try await h.app("beta").name == "beta")
            // Still the one writer, with the same epoch.
            let (_, revision) = try await h.up(app)
            #expect(revision > 0)
            let second = try Harness.open(h.url)
            defer { second.close() }
            #expect(
                try await eventually {
                    // The lock is held again.
                    let pool = try PostgresPool(PostgresConfiguration(connection: h.url, poolSize: 1))
                    defer { pool.close() }
                    return try await pool.transaction {
                        try $0.one(
                            "select count(*) as n from pg_locks where locktype = 'advisory' and granted and database = (select oid from pg_database where datname = current_database())"
                        ).get(
                            "n")
                    } == 1
                })
            try await refused(.conflict) { try await second.beginEpoch(waitSeconds: 0.2) }
        }
    }

    @Test func eventsAreInOrderAndOldOnesGo() async throws {
        try await Harness.run { h in
            let app = try await h.app("alpha")
            var hints = h.store.eventHints().makeAsyncIterator()
            var others = h.store.eventHints().makeAsyncIterator()
            _ = await hints.next()
            _ = await others.next()
            try await withThrowingTaskGroup(of: Void.self) { group in
                for n in 0..<30 {
                    group.addTask {
                        try await h.store.recordEvent(kind: "note", app: app.id, data: ["n": "\(n)"], now: h.now())
                    }
                }
                try await group.waitForAll()
            }
            #expect(await hints.next() != nil)
            #expect(await others.next() != nil)
            let all = try await h.store.events(after: 0, limit: 100, app: nil, for: h.admin)
            #expect(all.map(\.id) == (1...31).map { Int64($0) })
            #expect(try await h.store.events(after: 29, limit: 100, app: "alpha", for: h.admin).map(\.id) == [30, 31])
            #expect(try await h.store.events(after: 0, limit: 2, app: nil, for: h.admin).map(\.id) == [1, 2])
            let pool = try PostgresPool(PostgresConfiguration(connection: h.url, poolSize: 1))
            defer { pool.close() }
            try await pool.transaction { _ = try $0.run("update counters set last_event_id = 100998") }
            try await h.store.recordEvent(kind: "note", app: nil, data: [:], now: h.now())
            try await h.store.recordEvent(kind: "note", app: nil, data: [:], now: h.now())
            #expect(try await h.store.lastEventID() == 101_000)
            #expect(
                try await h.store.events(after: 0, limit: 100, app: nil, for: h.admin).map(\.id) == [100_999, 101_000])
        }
    }

    @Test func operationsAreSeenByTheirSpaceOnly() async throws {
        try await Harness.run { h in
            let a = try await h.scoped("team-a")
            let b = try await h.scoped("team-b")
            let app = try await h.store.putApp(AppRequest(name: "mine"), actor: a, now: h.now()).app
            let operation = try await h.store.deleteApp(app.id, actor: a, now: h.now())
            #expect(try await h.store.operation(operation.id, for: a).target == "/api/v1/apps/mine")
            try await refused(.notFound) { try await h.store.operation(operation.id, for: b) }
        }
    }
}
