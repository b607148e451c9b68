import Domain
import FoundationEssentials
import Postgres

extension Identifier: PostgresBindable {
    public var postgresValue: PostgresValue { .uuid(uuid) }
}

extension Identifier: PostgresDecodable {
    public init?(postgresType: UInt32, bytes: UnsafeRawBufferPointer?) {
        guard let uuid = UUID(postgresType: postgresType, bytes: bytes) else { return nil }
        self.init(uuid)
    }
}

extension Timestamp: PostgresBindable {
    public var postgresValue: PostgresValue { .timestamp(microseconds) }
}

extension Timestamp: PostgresDecodable {
    public init?(postgresType: UInt32, bytes: UnsafeRawBufferPointer?) {
        guard let value = PostgresTimestamp(postgresType: postgresType, bytes: bytes) else { return nil }
        self.init(microseconds: value.microseconds)
    }
}

extension SlugDigest: PostgresBindable {
    public var postgresValue: PostgresValue { .text(description) }
}

extension SlugDigest: PostgresDecodable {
    public init?(postgresType: UInt32, bytes: UnsafeRawBufferPointer?) {
        guard let text = String(postgresType: postgresType, bytes: bytes) else { return nil }
        self.init(text)
    }
}

/// A value kept as `jsonb`.
struct JSON<Value: Codable>: PostgresBindable, PostgresDecodable {
    var value: Value

    init(_ value: Value) { self.value = value }

    var postgresValue: PostgresValue {
        do {
            return .json(String(decoding: try JSONEncoder().encode(value), as: UTF8.self))
        } catch {
            // Plain structs of strings and numbers always encode; a null is refused by the column.
            return .null
        }
    }

    init?(postgresType: UInt32, bytes: UnsafeRawBufferPointer?) {
        guard let text = String(postgresType: postgresType, bytes: bytes) else { return nil }
        do {
            value = try JSONDecoder().decode(Value.self, from: Data(text.utf8))
        } catch {
            return nil
        }
    }
}

extension PostgresRow {
    func json<T: Codable>(_ column: String, as type: T.Type = T.self) throws(PostgresError) -> T {
        try get(column, as: JSON<T>.self).value
    }

    func optionalJSON<T: Codable>(_ column: String, as type: T.Type = T.self) throws(PostgresError) -> T? {
        try get(column, as: JSON<T>?.self)?.value
    }

    /// A text column that holds the case of an enumeration.
    func choice<T: RawRepresentable>(_ column: String, as type: T.Type = T.self) throws(PostgresError) -> T
    where T.RawValue == String {
        guard let value = T(rawValue: try get(column)) else {
            throw PostgresError(.result, "column \(column) holds no \(T.self)")
        }
        return value
    }
}

/// JSON text can hold U+0000, `jsonb` and `text` can't.
func withoutNUL(_ text: String) -> String {
    text.unicodeScalars.contains("\0")
        ? String(String.UnicodeScalarView(text.unicodeScalars.map { $0 == "\0" ? "\u{FFFD}" : $0 })) : text
}
