/// What a caller named a request by, so that it may be sent again. Keys of different tokens have nothing to do with each other.
public struct IdempotencyKey: Sendable, Hashable {
    /// The token that the request came with.
    public let token: TokenID
    /// As the caller chose it.
    public let text: String

    /// - Throws: `malformed` unless `text` has 1 to `Limits.idempotencyKeyBytes` printable ASCII characters.
    public init(token: TokenID, text: String) throws(PaaSError) {
        guard (1...Limits.idempotencyKeyBytes).contains(text.utf8.count),
            text.utf8.allSatisfy({ (0x20...0x7e).contains($0) })
        else {
            throw PaaSError(
                .malformed,
                "Idempotency-Key must have 1 to \(Limits.idempotencyKeyBytes) printable ASCII characters; a random UUID does",
                invalidParameters: [.init(name: "Idempotency-Key", reason: "malformed")])
        }
        self.token = token
        self.text = text
    }
}

/// The answer to a request with an `Idempotency-Key`, for its repetitions.
public struct IdempotentAnswer: Sendable, Hashable {
    /// SHA-256 of the request: a repetition has the same.
    public var fingerprint: [UInt8]
    /// The HTTP status.
    public var status: Int
    /// `Content-Type` and `Location`, where they are set.
    public var headers: [String: String]
    public var body: [UInt8]

    public init(fingerprint: [UInt8], status: Int, headers: [String: String], body: [UInt8]) {
        self.fingerprint = fingerprint
        self.status = status
        self.headers = headers
        self.body = body
    }
}
