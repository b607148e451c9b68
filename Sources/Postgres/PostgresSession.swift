/// What the body of a transaction works with. Calls block, on the connection's own thread.
public final class PostgresSession {
    private let connection: PostgresConnection

    init(_ connection: PostgresConnection) { self.connection = connection }

    @discardableResult
    public func run(_ sql: SQL) throws(PostgresError) -> PostgresResult { try connection.run(sql) }

    public func rows(_ sql: SQL) throws(PostgresError) -> [PostgresRow] { try connection.run(sql).rows }

    public func first(_ sql: SQL) throws(PostgresError) -> PostgresRow? { try connection.run(sql).first }

    /// The only row.
    /// - Throws: `result` if there is none.
    public func one(_ sql: SQL) throws(PostgresError) -> PostgresRow {
        guard let row = try connection.run(sql).first else { throw PostgresError(.result, "expected a row") }
        return row
    }

    /// Several statements of the program's own text, without values and without a time limit (migrations).
    public func run(script: String) throws(PostgresError) { try connection.run(script: script) }
}
