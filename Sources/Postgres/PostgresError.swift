/// What went wrong with the database. Never holds a bound value: of the server's answer only those messages are kept
/// that can't quote data.
public struct PostgresError: Error, Sendable, Hashable, CustomStringConvertible, CustomDebugStringConvertible {
    public enum Kind: String, Sendable, Hashable {
        /// No connection could be made, or it broke.
        case connection
        /// All connections of the pool stayed busy until the deadline, or too many callers wait.
        case poolTimeout
        /// The pool, lock or listener was closed.
        case closed
        /// The server refused the statement; see `sqlState`.
        case server
        /// A value or text that can't be sent.
        case argument
        /// The result is not what the caller said it would be.
        case result
        /// The schema is newer than this program.
        case schema
    }

    public let kind: Kind
    /// Five characters, as in `23505`.
    public let sqlState: String?
    public let constraint: String?
    /// Safe to log.
    public let note: String

    public init(_ kind: Kind, _ note: String, sqlState: String? = nil, constraint: String? = nil) {
        self.kind = kind
        self.note = note
        self.sqlState = sqlState
        self.constraint = constraint
    }

    /// Whether running the whole transaction again can succeed: serialization failure, deadlock.
    public var isRetryable: Bool { sqlState == "40001" || sqlState == "40P01" }
    public var isUniqueViolation: Bool { sqlState == "23505" }
    public var isForeignKeyViolation: Bool { sqlState == "23503" }

    /// Whether the server is away, shutting down, starting, out of connections or of time, rather than refusing.
    public var isUnavailability: Bool {
        switch kind {
        case .connection, .poolTimeout, .closed: return true
        case .argument, .result, .schema: return false
        case .server:
            guard let sqlState else { return true }
            return sqlState.hasPrefix("08") || sqlState.hasPrefix("57") || sqlState.hasPrefix("53")
                || sqlState.hasPrefix("58") || sqlState == "25006" || sqlState == "55P03" || isRetryable
        }
    }

    public var description: String {
        var text = "postgres \(kind.rawValue)"
        if let sqlState { text += " \(sqlState)" }
        if let constraint { text += " (\(constraint))" }
        return note.isEmpty ? text : "\(text): \(note)"
    }
    public var debugDescription: String { description }

    /// Messages of these classes can repeat values ("invalid input syntax for type integer: …").
    static func mayQuoteData(_ sqlState: String) -> Bool {
        ["21", "22", "23", "44", "P0"].contains { sqlState.hasPrefix($0) }
    }
}
