public import Domain
public import Postgres
import Synchronization

/// The store on Postgres: every method one transaction. Without the database every method answers `unavailable`, and works
/// again by itself once it is back.
public final class PostgresStore: Sendable {
    /// Events that are kept; older ones go.
    public static let keptEvents: Int64 = 100_000
    /// Finished operations are kept for this long.
    public static let keptOperationsSeconds: Double = 30 * 86_400

    let pool: PostgresPool
    let sealer: ConfigSealer
    let keyCheck: [UInt8]
    let portRange: ClosedRange<UInt16>
    let configuration: PostgresConfiguration
    let capacity: Capacity
    let writer = WriterLock()
    let hints: EventHints
    /// The epoch that this store writes in; nil before `beginEpoch`.
    let ownEpoch = Mutex<Int64?>(nil)

    /// Connects lazily.
    /// - Parameters:
    ///   - key: encrypts config; the database remembers which key it was, and another one is refused.
    ///   - portRange: public ports for bindings that the platform makes itself.
    ///   - capacity: how many apps and spaces the host has room for.
    /// - Throws: `invalid` if the database URL can't be read; `unavailable` if the system has no threads left.
    public init(
        configuration: PostgresConfiguration, key: EncryptionKey, portRange: ClosedRange<UInt16>,
        capacity: Capacity
    ) throws(PaaSError) {
        do {
            pool = try PostgresPool(configuration)
        } catch {
            if error.kind == .argument { throw PaaSError(.invalid, error.note) }
            throw PaaSError(.unavailable, "can't start the database threads; retry", cause: error)
        }
        self.configuration = configuration
        sealer = ConfigSealer(key)
        keyCheck = key.check
        self.portRange = portRange
        self.capacity = capacity
        hints = EventHints(configuration)
    }

    deinit { close() }

    /// Ends all connections, gives the writer's lock back.
    public func close() {
        writer.close()
        hints.close()
        pool.close()
    }

    /// Makes the schema, or brings it up to date. Fine to call again.
    public func migrate() async throws(PaaSError) {
        do {
            try await pool.migrate(Migrations.all, lockKey: Migrations.lockKey)
        } catch {
            throw Self.translate(error)
        }
    }

    /// One transaction that may change things. `body` may run several times and has no other effect.
    /// - Throws: `stale` if another paasd has begun since, `unavailable` before this one has.
    func write<T: Sendable>(
        now: Timestamp, _ body: @escaping @Sendable (StoreTransaction) throws -> T
    ) async throws(PaaSError) -> T {
        guard let epoch = ownEpoch.withLock({ $0 }) else {
            throw PaaSError(.unavailable, "the platform is still starting; retry")
        }
        return try await write(epoch: epoch, now: now, body)
    }

    /// The same in the epoch that the caller was told to be in charge of.
    func write<T: Sendable>(
        epoch: Int64, now: Timestamp, _ body: @escaping @Sendable (StoreTransaction) throws -> T
    ) async throws(PaaSError) -> T {
        try await writeUnfenced(now: now) { transaction in
            try transaction.requireEpoch(epoch)
            return try body(transaction)
        }
    }

    /// The same for the one who is about to take charge.
    func writeUnfenced<T: Sendable>(
        now: Timestamp, _ body: @escaping @Sendable (StoreTransaction) throws -> T
    ) async throws(PaaSError) -> T {
        do {
            return try await pool.transaction { session in
                let transaction = StoreTransaction(session, now: now)
                let value = try body(transaction)
                try transaction.flush()
                return value
            }
        } catch {
            throw Self.translate(error)
        }
    }

    /// One transaction that only reads; all of it sees the same state.
    func read<T: Sendable>(_ body: @escaping @Sendable (PostgresSession) throws -> T) async throws(PaaSError) -> T {
        do {
            return try await pool.transaction(.snapshot, body)
        } catch {
            throw Self.translate(error)
        }
    }

    static func translate(_ error: any Error) -> PaaSError {
        if let known = error as? PaaSError { return known }
        guard let known = error as? PostgresError else {
            return PaaSError(.internal, "internal error; the platform's log has the details", cause: error)
        }
        if known.kind == .schema { return PaaSError(.internal, known.note, cause: known) }
        if known.isUnavailability {
            return PaaSError(.unavailable, "database is not reachable; retry", cause: known)
        }
        if known.isUniqueViolation {
            return PaaSError(.conflict, "somebody else changed the same thing at the same time; retry", cause: known)
        }
        if known.isForeignKeyViolation {
            return PaaSError(.conflict, "what this belongs to was removed meanwhile; look again", cause: known)
        }
        return PaaSError(.internal, "internal error; the platform's log has the details", cause: known)
    }
}
