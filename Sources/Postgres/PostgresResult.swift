import CLibPQ

/// Owns one libpq result and frees it. Confined to the thread of its connection.
public final class PostgresResult {
    private let handle: OpaquePointer
    private let columns: [String: Int32]
    public let rowCount: Int

    init(adopting handle: OpaquePointer) {
        self.handle = handle
        rowCount = Int(PQntuples(handle))
        var columns: [String: Int32] = [:]
        for index in 0..<PQnfields(handle) {
            guard let name = PQfname(handle, index) else { continue }
            columns[String(cString: name)] = index
        }
        self.columns = columns
    }

    deinit { PQclear(handle) }

    /// Rows that an insert, update or delete changed.
    public var affectedRows: Int {
        guard let text = PQcmdTuples(handle) else { return 0 }
        return Int(String(cString: text)) ?? 0
    }

    var commandTag: String { PQcmdStatus(handle).map { String(cString: $0) } ?? "" }

    public var rows: [PostgresRow] { (0..<rowCount).map { PostgresRow(result: self, index: Int32($0)) } }
    public var first: PostgresRow? { rowCount > 0 ? PostgresRow(result: self, index: 0) : nil }

    /// Calls `body` with the type and the bytes of one field (nil for null); the bytes are valid only in the call.
    func withField<T>(
        _ row: Int32, _ column: String, _ body: (UInt32, UnsafeRawBufferPointer?) throws(PostgresError) -> T
    ) throws(PostgresError) -> T {
        guard let index = columns[column] else { throw PostgresError(.result, "no column \(column)") }
        let oid = UInt32(PQftype(handle, index))
        if PQgetisnull(handle, row, index) != 0 { return try body(oid, nil) }
        return try body(
            oid,
            UnsafeRawBufferPointer(
                start: PQgetvalue(handle, row, index), count: Int(PQgetlength(handle, row, index))))
    }
}

/// One row of a result.
public struct PostgresRow {
    let result: PostgresResult
    let index: Int32

    /// The value of a column, in the type the caller asks for.
    /// - Throws: `result` for an unknown column, a null where the type isn't optional, or another type.
    public func get<T: PostgresDecodable>(_ column: String, as type: T.Type = T.self) throws(PostgresError) -> T {
        try result.withField(index, column) { (oid, bytes) throws(PostgresError) in
            guard let value = T(postgresType: oid, bytes: bytes) else {
                throw PostgresError(.result, "column \(column) is not a \(T.self)")
            }
            return value
        }
    }
}
