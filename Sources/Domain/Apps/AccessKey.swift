/// An SSH key that may push and fetch, with the rights of the token that added it. It dies with that token.
public struct AccessKey: Sendable, Codable, Hashable {
    public var id: KeyID
    public var token: TokenID
    /// As its owner calls it: the comment of the key, unless another name was given.
    public var name: String
    /// As in `ssh-ed25519`.
    public var type: String
    /// SHA-256 of the key's bytes.
    public var fingerprint: [UInt8]
    public var createdAt: Timestamp

    public init(
        id: KeyID, token: TokenID, name: String, type: String, fingerprint: [UInt8], createdAt: Timestamp
    ) {
        self.id = id
        self.token = token
        self.name = name
        self.type = type
        self.fingerprint = fingerprint
        self.createdAt = createdAt
    }
}

/// Whom a key stands for.
public struct KeyHolder: Sendable, Hashable {
    public var key: AccessKey
    /// Nil: the token that added the key has expired or was revoked.
    public var principal: Principal?

    public init(key: AccessKey, principal: Principal?) {
        self.key = key
        self.principal = principal
    }
}
