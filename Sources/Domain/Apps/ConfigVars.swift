import FoundationEssentials

/// The value of one config var: any bytes but NUL. Its description never shows the bytes.
public struct ConfigValue: Sendable, Hashable, CustomStringConvertible, CustomDebugStringConvertible {
    /// Largest value: below the kernel's MAX_ARG_STRLEN (128 KiB for `KEY=value` and its NUL).
    public static let maximumBytes = 130_000

    public let bytes: [UInt8]

    /// - Throws: `invalid` for a NUL byte, `tooLarge` above `maximumBytes`.
    public init(_ bytes: [UInt8]) throws(PaaSError) {
        guard !bytes.contains(0) else { throw PaaSError(.invalid, "a config value can't hold a NUL byte") }
        guard bytes.count <= Self.maximumBytes else {
            throw PaaSError(.tooLarge, "a config value can have at most \(Self.maximumBytes) bytes")
        }
        self.bytes = bytes
    }

    public init(_ text: String) throws(PaaSError) { try self.init(Array(text.utf8)) }

    /// The value as text; nil if it isn't valid UTF-8.
    public var text: String? { String(validating: bytes, as: UTF8.self) }

    public var description: String { "‹\(bytes.count) bytes›" }
    public var debugDescription: String { description }
}

/// The environment that an app's users gave it.
public typealias ConfigVars = [String: ConfigValue]

/// One environment variable of a container. Its description never shows the value.
public struct EnvironmentVariable: Sendable, Hashable, Codable, CustomStringConvertible {
    public var name: String
    public var value: [UInt8]

    public init(name: String, value: [UInt8]) {
        self.name = name
        self.value = value
    }

    public init(_ name: String, _ value: String) { self.init(name: name, value: Array(value.utf8)) }

    public var description: String { "\(name)=‹\(value.count) bytes›" }

    private enum CodingKeys: String, CodingKey { case name, value }

    // Base64 because a value may be any bytes, which JSON text can't carry.
    public init(from decoder: any Decoder) throws {
        let container = try decoder.container(keyedBy: CodingKeys.self)
        name = try container.decode(String.self, forKey: .name)
        value = Array(try container.decode(Data.self, forKey: .value))
    }

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: CodingKeys.self)
        try container.encode(name, forKey: .name)
        try container.encode(Data(value), forKey: .value)
    }
}
