import Crypto
import Domain
import FoundationEssentials

/// The 32 bytes under which config is encrypted at rest. Never shown.
public struct EncryptionKey: Sendable, CustomStringConvertible, CustomDebugStringConvertible {
    let key: SymmetricKey

    /// - Throws: `invalid` unless there are exactly 32 bytes.
    public init(_ bytes: [UInt8]) throws(PaaSError) {
        guard bytes.count == 32 else {
            throw PaaSError(.invalid, "the encryption key must have exactly 32 bytes, not \(bytes.count)")
        }
        key = SymmetricKey(data: bytes)
    }

    public var description: String { "EncryptionKey(‹32 bytes›)" }
    public var debugDescription: String { description }

    /// Tells one key from another without revealing anything of it.
    var check: [UInt8] {
        Array(HMAC<SHA256>.authenticationCode(for: Data("slipway: which key is this".utf8), using: key).prefix(16))
    }
}
