public import Domain
import Postgres
import Synchronization

/// The time in which one paasd is in charge.
public struct WriterTerm: Sendable, Hashable {
    /// Carried by every plan and every call of the engine.
    public var epoch: Int64
    /// Identity of the database.
    public var platformID: String
    /// The database knew less than was known outside it: it was restored from an older state.
    public var wasBehind: Bool
}

extension PostgresStore {
    /// Becomes the one writer: takes the writer's lock on a connection of its own, brings the schema up to date, checks
    /// the encryption key and raises the epoch above every earlier one. Call once, at start.
    ///
    /// The routing table gets a new identity: the revisions of a database that was restored may have been used before for
    /// other tables, and routers follow them only within one identity.
    /// - Parameters:
    ///   - known: the newest epoch that is known outside the database.
    ///   - expected: identity of the database that the data directory belongs to; nil: any.
    ///   - waitSeconds: how long to wait for another paasd that holds the lock.
    /// - Throws: `conflict` if another paasd runs on this database, `invalid` for a key that is not this database's and
    ///   for another database than the expected one; then nothing was changed.
    public func beginEpoch(atLeast known: Int64 = 0, platformID expected: String? = nil, waitSeconds: Double = 10)
        async throws(PaaSError) -> WriterTerm
    {
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
        let term: WriterTerm
        do throws(PaaSError) {
            try await migrate()
            term = try await raiseEpoch(above: known, platformID: expected)
        } catch {
            lock.release()
            throw error
        }
        ownEpoch.withLock { $0 = term.epoch }
        writer.hold(lock)
        let store = WeakStore(self)
        Task { await Self.keepLock(lock, epoch: term.epoch, store: store) }
        return term
    }

    /// Returns true once another paasd has taken over (this one must end: everything it writes is refused as `stale`), false
    /// once the store was closed. A restart of the database alone is no reason: the lock is taken again.
    public func waitUntilSuperseded() async -> Bool { await writer.wait() }

    private func raiseEpoch(above known: Int64, platformID expected: String?) async throws(PaaSError) -> WriterTerm {
        guard (0..<Int64.max / 2).contains(known) else {
            throw PaaSError(.invalid, "\(known) is no epoch; remove the damaged file that names it")
        }
        let check = keyCheck
        return try await writeUnfenced(now: .now()) { transaction in
            let row = try transaction.session.one(
                "select platform_id::text as platform_id, epoch, key_check from platform for no key update")
            let platformID: String = try row.get("platform_id")
            if let expected, expected != platformID {
                throw PaaSError(
                    .invalid,
                    "this database belongs to platform \(platformID), the data directory to \(expected); start with the right database (PAAS_DATABASE_URL) or with the right data directory (PAAS_DATA_DIR)"
                )
            }
            if let key: [UInt8] = try row.get("key_check"), key != check {
                throw PaaSError(
                    .invalid,
                    "this database was written with another encryption key; put the right secret.key back, or use another database"
                )
            }
            let before: Int64 = try row.get("epoch")
            let epoch = max(before, known) + 1
            try transaction.session.run(
                "update platform set epoch = \(epoch), table_id = gen_random_uuid(), key_check = \(check)")
            return WriterTerm(epoch: epoch, platformID: platformID, wasBehind: known > before)
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

    public func eventHints() -> AsyncStream<Void> { hints.follow() }
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
