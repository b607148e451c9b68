import CLibPQ

/// How to reach the server and how long to wait for it. Its description never shows the address or a password.
public struct PostgresConfiguration: Sendable, CustomStringConvertible, CustomDebugStringConvertible {
    /// A libpq connection string: `postgresql://…` or `key=value` pairs. May hold a password.
    public var connection: String
    /// Connections (and threads) of a pool.
    public var poolSize: Int
    /// Longest time to wait for a free connection of the pool.
    public var acquireTimeoutSeconds: Double
    /// Longest time to wait for a new connection. The connection string's own `connect_timeout` wins.
    public var connectTimeoutSeconds: Int
    /// Longest time that one statement may take.
    public var statementTimeoutSeconds: Int
    /// Shown in `pg_stat_activity`.
    public var applicationName: String

    public init(
        connection: String, poolSize: Int = 8, acquireTimeoutSeconds: Double = 5, connectTimeoutSeconds: Int = 5,
        statementTimeoutSeconds: Int = 15, applicationName: String = "slipway"
    ) {
        self.connection = connection
        self.poolSize = poolSize
        self.acquireTimeoutSeconds = acquireTimeoutSeconds
        self.connectTimeoutSeconds = connectTimeoutSeconds
        self.statementTimeoutSeconds = statementTimeoutSeconds
        self.applicationName = applicationName
    }

    public var description: String { "PostgresConfiguration(poolSize: \(poolSize))" }
    public var debugDescription: String { description }

    /// Checks the connection string without connecting.
    /// - Throws: `argument`; libpq's own words are left out because they can repeat parts of a password.
    public func validate() throws(PostgresError) {
        var message: UnsafeMutablePointer<CChar>?
        let options = PQconninfoParse(connection, &message)
        defer {
            PQconninfoFree(options)
            PQfreemem(message)
        }
        guard options != nil, !connection.utf8.contains(0) else {
            throw PostgresError(
                .argument, "the database URL can't be read; write it as postgresql://user@host:port/database")
        }
    }
}
