public import FoundationEssentials

/// A value on its way into a statement. Always bound, never part of the text.
public enum PostgresValue: Sendable, Hashable {
    case null
    case text(String)
    case int(Int64)
    case bool(Bool)
    case double(Double)
    case bytes([UInt8])
    case uuid(UUID)
    /// Microseconds since 1970.
    case timestamp(Int64)
    /// JSON text for a `jsonb`.
    case json(String)
    case uuids([UUID])

    /// Type, and bytes in binary form (`nil` for null).
    func encoded() -> (oid: UInt32, bytes: [UInt8]?) {
        switch self {
        case .null: return (0, nil)
        case .text(let value): return (PostgresType.text, Array(value.utf8))
        case .int(let value): return (PostgresType.int8, Self.bigEndian(value))
        case .bool(let value): return (PostgresType.bool, [value ? 1 : 0])
        case .double(let value): return (PostgresType.float8, Self.bigEndian(Int64(bitPattern: value.bitPattern)))
        case .bytes(let value): return (PostgresType.bytea, value)
        case .uuid(let value): return (PostgresType.uuid, Self.octets(value))
        case .timestamp(let value): return (PostgresType.timestamptz, Self.bigEndian(value - PostgresType.epochOffset))
        case .json(let value): return (PostgresType.jsonb, [1] + Array(value.utf8))
        case .uuids(let values):
            // Array header: dimensions, null flag, element type, length, lower bound; then length-prefixed elements.
            var out = Self.bigEndian(Int32(values.isEmpty ? 0 : 1)) + Self.bigEndian(Int32(0))
            out += Self.bigEndian(Int32(PostgresType.uuid))
            if !values.isEmpty { out += Self.bigEndian(Int32(values.count)) + Self.bigEndian(Int32(1)) }
            for value in values { out += Self.bigEndian(Int32(16)) + Self.octets(value) }
            return (PostgresType.uuidArray, out)
        }
    }

    private static func bigEndian<T: FixedWidthInteger>(_ value: T) -> [UInt8] {
        withUnsafeBytes(of: value.bigEndian) { Array($0) }
    }

    private static func octets(_ value: UUID) -> [UInt8] {
        withUnsafeBytes(of: value.uuid) { Array($0) }
    }
}

/// Object ids of the built-in types that this driver speaks, in binary form both ways.
enum PostgresType {
    static let bool: UInt32 = 16
    static let bytea: UInt32 = 17
    static let name: UInt32 = 19
    static let int8: UInt32 = 20
    static let int2: UInt32 = 21
    static let int4: UInt32 = 23
    static let text: UInt32 = 25
    static let float8: UInt32 = 701
    static let varchar: UInt32 = 1043
    static let timestamptz: UInt32 = 1184
    static let uuid: UInt32 = 2950
    static let uuidArray: UInt32 = 2951
    static let jsonb: UInt32 = 3802
    static let void: UInt32 = 2278
    /// Postgres counts from 2000-01-01; microseconds from 1970 to then.
    static let epochOffset: Int64 = 946_684_800_000_000
}

/// Can be bound into a statement.
public protocol PostgresBindable {
    var postgresValue: PostgresValue { get }
}

extension PostgresValue: PostgresBindable {
    public var postgresValue: PostgresValue { self }
}
extension String: PostgresBindable {
    public var postgresValue: PostgresValue { .text(self) }
}
extension Int: PostgresBindable {
    public var postgresValue: PostgresValue { .int(Int64(self)) }
}
extension Int64: PostgresBindable {
    public var postgresValue: PostgresValue { .int(self) }
}
extension Int32: PostgresBindable {
    public var postgresValue: PostgresValue { .int(Int64(self)) }
}
extension UInt16: PostgresBindable {
    public var postgresValue: PostgresValue { .int(Int64(self)) }
}
extension Bool: PostgresBindable {
    public var postgresValue: PostgresValue { .bool(self) }
}
extension Double: PostgresBindable {
    public var postgresValue: PostgresValue { .double(self) }
}
extension UUID: PostgresBindable {
    public var postgresValue: PostgresValue { .uuid(self) }
}
extension [UInt8]: PostgresBindable {
    public var postgresValue: PostgresValue { .bytes(self) }
}
extension Optional: PostgresBindable where Wrapped: PostgresBindable {
    public var postgresValue: PostgresValue { self?.postgresValue ?? .null }
}
