public import Domain
import Postgres
import Synchronization

extension PostgresStore {
    /// Becomes the one writer: takes the writer's lock on a connection of its own, brings the schema up to date, checks
    /// the encryption key and raises the epoch. Call once, at start.
    /// - Parameter waitSeconds: how long to wait for another paasd that holds the lock.
    /// - Returns: the new epoch, to be carried by every plan and every call of the engine.
    /// - Throws: `conflict` if another paasd runs on this database, `invalid` for a key that is not this database's.
    public func beginEpoch(waitSeconds: Double = 10) async throws(PaaSError) -> Int64 {
        let lock: PostgresAdvisoryLock?
        do {
            lock = try await PostgresAdvisoryLock.acquire(
                configuration, key: Migrations.writerLockKey, waitSeconds: waitSeconds)
        } catch {
            throw Self.translate(error)
        }
        guard let lock else {
            throw PaaSError(.conflict, "another paasd runs on this database; stop it first")
        }
        let epoch: Int64
        do throws(PaaSError) {
            try await migrate()
            epoch = try await raiseEpoch()
        } catch {
            lock.release()
            throw error
        }
        writer.hold(lock)
        let store = WeakStore(self)
        Task { await Self.keepLock(lock, epoch: epoch, store: store) }
        return epoch
    }

    /// Returns true once another paasd has taken over (this one must end: everything it writes is refused as `stale`), false
    /// once the store was closed. A restart of the database alone is no reason: the lock is taken again.
    public func waitUntilSuperseded() async -> Bool { await writer.wait() }

    private func raiseEpoch() async throws(PaaSError) -> Int64 {
        let check = keyCheck
        return try await write(now: .now()) { transaction in
            let row = try transaction.session.one("select key_check from platform for no key update")
            if let known: [UInt8] = try row.get("key_check"), known != check {
                throw PaaSError(
                    .invalid,
                    "this database was written with another encryption key; put the right secret.key back, or use another database"
                )
            }
            return try transaction.session.one(
                "update platform set epoch = epoch + 1, key_check = \(check) returning epoch"
            ).get("epoch")
        }
    }

    /// Takes the lock again whenever its connection is lost, as long as nobody else raised the epoch.
    fileprivate static func keepLock(
        _ first: PostgresAdvisoryLock, epoch: Int64, store reference: WeakStore
    ) async {
        var held: PostgresAdvisoryLock? = first
        while true {
            await held?.waitUntilLost()
            held = nil
            guard let store = reference.store, !store.writer.isEnded else { return }
            do {
                held = try await PostgresAdvisoryLock.acquire(
                    store.configuration, key: Migrations.writerLockKey, waitSeconds: 1)
                let newest: Int64 = try await store.pool.transaction {
                    try $0.one("select epoch from platform").get("epoch")
                }
                if newest != epoch {
                    held?.release()
                    store.writer.superseded()
                    return
                }
                if let held { store.writer.hold(held) }
            } catch {
                // The database is away: the next round tries again.
                held?.release()
                held = nil
                do { try await Task.sleep(for: .milliseconds(200)) } catch { return }
            }
        }
    }

    /// Identity of this platform and of its routing table.
    public func identity() async throws(PaaSError) -> (platformID: String, tableID: String, epoch: Int64) {
        try await read { session in
            let row = try session.one(
                "select platform_id::text as platform_id, table_id::text as table_id, epoch from platform")
            return (try row.get("platform_id"), try row.get("table_id"), try row.get("epoch"))
        }
    }

    /// Makes routers replace their table whatever its revision: after a restore from a backup.
    public func renewTableID(epoch: Int64) async throws(PaaSError) {
        try await write(now: .now()) { transaction in
            let newest: Int64 = try transaction.session.one("select epoch from platform for no key update").get("epoch")
            guard newest == epoch else { throw PaaSError(.stale, "epoch \(epoch) is over") }
            try transaction.session.run("update platform set table_id = gen_random_uuid()")
        }
    }

    /// Hints that events were appended; read them with `events(after:…)`. Ends when `listener` is closed.
    public func eventListener() throws(PaaSError) -> PostgresListener {
        do {
            return try PostgresListener(configuration, channel: "slipway_events")
        } catch {
            throw Self.translate(error)
        }
    }
}

/// Lets the lock's keeper end with the store instead of keeping it alive.
private final class WeakStore: Sendable {
    private let reference: Mutex<Weak>
    private struct Weak {
        weak var store: PostgresStore?
    }

    init(_ store: PostgresStore) { reference = Mutex(Weak(store: store)) }
    var store: PostgresStore? { reference.withLock { $0.store } }
}
