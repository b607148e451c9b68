public import FoundationEssentials

/// Can be read from a column.
public protocol PostgresDecodable {
    /// Nil if the column's type or bytes don't fit. `bytes` (binary form) is nil for null.
    init?(postgresType: UInt32, bytes: UnsafeRawBufferPointer?)
}

extension PostgresDecodable {
    fileprivate static func integer(_ oid: UInt32, _ bytes: UnsafeRawBufferPointer?) -> Int64? {
        guard let bytes else { return nil }
        switch (oid, bytes.count) {
        case (PostgresType.int8, 8): return Int64(bigEndian: bytes.loadUnaligned(as: Int64.self))
        case (PostgresType.int4, 4): return Int64(Int32(bigEndian: bytes.loadUnaligned(as: Int32.self)))
        case (PostgresType.int2, 2): return Int64(Int16(bigEndian: bytes.loadUnaligned(as: Int16.self)))
        default: return nil
        }
    }
}

extension Int64: PostgresDecodable {
    public init?(postgresType: UInt32, bytes: UnsafeRawBufferPointer?) {
        guard let value = Self.integer(postgresType, bytes) else { return nil }
        self = value
    }
}
extension Int: PostgresDecodable {
    public init?(postgresType: UInt32, bytes: UnsafeRawBufferPointer?) {
        guard let value = Self.integer(postgresType, bytes) else { return nil }
        self.init(exactly: value)
    }
}
extension Int32: PostgresDecodable {
    public init?(postgresType: UInt32, bytes: UnsafeRawBufferPointer?) {
        guard let value = Self.integer(postgresType, bytes) else { return nil }
        self.init(exactly: value)
    }
}
extension UInt16: PostgresDecodable {
    public init?(postgresType: UInt32, bytes: UnsafeRawBufferPointer?) {
        guard let value = Self.integer(postgresType, bytes) else { return nil }
        self.init(exactly: value)
    }
}
extension Bool: PostgresDecodable {
    public init?(postgresType: UInt32, bytes: UnsafeRawBufferPointer?) {
        guard postgresType == PostgresType.bool, let bytes, bytes.count == 1 else { return nil }
        self = bytes[0] != 0
    }
}
extension Double: PostgresDecodable {
    public init?(postgresType: UInt32, bytes: UnsafeRawBufferPointer?) {
        guard postgresType == PostgresType.float8, let bytes, bytes.count == 8 else { return nil }
        self.init(bitPattern: UInt64(bigEndian: bytes.loadUnaligned(as: UInt64.self)))
    }
}
extension String: PostgresDecodable {
    /// Text, or the text of a `jsonb`.
    public init?(postgresType: UInt32, bytes: UnsafeRawBufferPointer?) {
        guard let bytes else { return nil }
        switch postgresType {
        case PostgresType.text, PostgresType.varchar, PostgresType.name:
            self.init(validating: bytes, as: UTF8.self)
        case PostgresType.jsonb:
            guard bytes.first == 1 else { return nil }
            self.init(validating: bytes.dropFirst(), as: UTF8.self)
        default: return nil
        }
    }
}
extension UUID: PostgresDecodable {
    public init?(postgresType: UInt32, bytes: UnsafeRawBufferPointer?) {
        guard postgresType == PostgresType.uuid, let bytes, bytes.count == 16 else { return nil }
        self.init(uuid: bytes.loadUnaligned(as: uuid_t.self))
    }
}
extension [UInt8]: PostgresDecodable {
    public init?(postgresType: UInt32, bytes: UnsafeRawBufferPointer?) {
        guard postgresType == PostgresType.bytea, let bytes else { return nil }
        self = Array(bytes)
    }
}
extension Optional: PostgresDecodable where Wrapped: PostgresDecodable {
    public init?(postgresType: UInt32, bytes: UnsafeRawBufferPointer?) {
        guard bytes != nil else {
            // Null is a value here, unlike `nil` as the answer of this initializer.
            self = Optional<Wrapped>.none
            return
        }
        guard let value = Wrapped(postgresType: postgresType, bytes: bytes) else { return nil }
        self = Optional<Wrapped>.some(value)
    }
}

/// A `timestamptz`, in microseconds since 1970.
public struct PostgresTimestamp: PostgresDecodable, Sendable, Hashable {
    public let microseconds: Int64
    public init?(postgresType: UInt32, bytes: UnsafeRawBufferPointer?) {
        guard postgresType == PostgresType.timestamptz, let bytes, bytes.count == 8 else { return nil }
        microseconds = Int64(bigEndian: bytes.loadUnaligned(as: Int64.self)) + PostgresType.epochOffset
    }
}
