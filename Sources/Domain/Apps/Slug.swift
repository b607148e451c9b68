/// SHA-256 of a slug's canonical tar, written `sha256:` and 64 lower-case hex digits: the diffID of an OCI layer.
public struct SlugDigest: Hashable, Sendable, Codable, CustomStringConvertible {
    public let hex: String

    /// From `sha256:…`; nil for anything else.
    public init?(_ text: some StringProtocol) {
        guard text.hasPrefix("sha256:") else { return nil }
        self.init(hex: text.dropFirst(7))
    }

    public init?(hex: some StringProtocol) {
        guard hex.utf8.count == 64, hex.utf8.allSatisfy({ ($0 >= 48 && $0 <= 57) || ($0 >= 97 && $0 <= 102) }) else {
            return nil
        }
        self.hex = String(hex)
    }

    public var description: String { "sha256:\(hex)" }

    public init(from decoder: any Decoder) throws {
        let text = try decoder.singleValueContainer().decode(String.self)
        guard let value = SlugDigest(text) else {
            throw DecodingError.dataCorrupted(
                .init(codingPath: decoder.codingPath, debugDescription: "not a slug digest"))
        }
        self = value
    }

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        try container.encode(description)
    }
}

/// A finished tree, ready to run on its stack.
public struct Slug: Sendable, Codable, Hashable {
    public var digest: SlugDigest
    public var stack: String
    /// Bytes of the canonical tar.
    public var sizeBytes: Int64
    /// Bytes of the mountable image.
    public var imageBytes: Int64
    /// From Procfile and buildpack: process type to command.
    public var processTypes: [String: String]
    /// From `app.json`; nil if there is none.
    public var manifest: AppManifest?
    public var createdAt: Timestamp

    public init(
        digest: SlugDigest, stack: String, sizeBytes: Int64, imageBytes: Int64, processTypes: [String: String],
        manifest: AppManifest? = nil, createdAt: Timestamp
    ) {
        self.digest = digest
        self.stack = stack
        self.sizeBytes = sizeBytes
        self.imageBytes = imageBytes
        self.processTypes = processTypes
        self.manifest = manifest
        self.createdAt = createdAt
    }
}
