/// What a token may do.
public enum Role: String, Sendable, Codable, CaseIterable {
    case admin, `operator`, developer, vnfm, viewer
}

/// Who is calling, as established from a token.
public struct Principal: Sendable, Codable, Hashable {
    public var token: TokenID
    /// Shown in releases and events, as in `admin` or `developer:3f2a91bc`.
    public var name: String
    public var role: Role
    /// The only space it may see; nil: all.
    public var space: SpaceID?

    public init(token: TokenID, name: String, role: Role, space: SpaceID?) {
        self.token = token
        self.name = name
        self.role = role
        self.space = space
    }

    public func maySee(space other: SpaceID) -> Bool { space == nil || space == other }
    public var mayChangeApps: Bool { role != .viewer }
    public var mayAdministrate: Bool { role == .admin }
    /// Of the whole platform, not of one space.
    public var mayMakeSpaces: Bool { space == nil && (role == .admin || role == .operator) }
}

/// A bearer token's record. The secret itself is never stored, only its SHA-256.
public struct AccessToken: Sendable, Codable, Hashable {
    public var id: TokenID
    public var role: Role
    public var space: SpaceID?
    public var spaceName: String?
    public var createdAt: Timestamp
    public var expiresAt: Timestamp?
    public var revokedAt: Timestamp?

    public init(
        id: TokenID, role: Role, space: SpaceID?, spaceName: String?, createdAt: Timestamp, expiresAt: Timestamp?,
        revokedAt: Timestamp? = nil
    ) {
        self.id = id
        self.role = role
        self.space = space
        self.spaceName = spaceName
        self.createdAt = createdAt
        self.expiresAt = expiresAt
        self.revokedAt = revokedAt
    }
}
