import FoundationEssentials

/// A UUID that knows what it identifies. Written in lower case.
public struct Identifier<Entity>: Hashable, Sendable, Codable, CustomStringConvertible {
    public let uuid: UUID

    public init(_ uuid: UUID) { self.uuid = uuid }

    /// Nil unless `text` is a UUID.
    public init?(_ text: some StringProtocol) {
        guard let uuid = UUID(uuidString: String(text)) else { return nil }
        self.uuid = uuid
    }

    /// A new random identifier (version 4).
    public static func random() -> Self { Self(UUID()) }

    public var description: String { uuid.uuidString.lowercased() }

    public init(from decoder: any Decoder) throws {
        let text = try decoder.singleValueContainer().decode(String.self)
        guard let uuid = UUID(uuidString: text) else {
            throw DecodingError.dataCorrupted(
                .init(codingPath: decoder.codingPath, debugDescription: "not a UUID"))
        }
        self.uuid = uuid
    }

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        try container.encode(description)
    }
}

extension Identifier: Comparable {
    public static func < (a: Self, b: Self) -> Bool { a.description < b.description }
}

public typealias AppID = Identifier<App>
public typealias SpaceID = Identifier<Space>
public typealias BuildID = Identifier<Build>
public typealias ReleaseID = Identifier<Release>
/// Of one run of one process. A replacement has another.
public typealias InstanceID = Identifier<ProcessInstance>
public typealias BindingID = Identifier<PortBinding>
public typealias OperationID = Identifier<Operation>
public typealias TokenID = Identifier<AccessToken>
public typealias KeyID = Identifier<AccessKey>
