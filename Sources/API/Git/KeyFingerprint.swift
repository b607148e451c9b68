import Crypto
import Domain
import FoundationEssentials

/// SHA-256 of a key's bytes, as ssh-keygen shows it.
public enum KeyFingerprint {
    public static func of(_ key: SSHPublicKey) -> [UInt8] { Array(SHA256.hash(data: key.blob)) }

    /// As in `SHA256:Do2L1pSGv0rTrXiRhsEd9bgKKSdUHAoT9PYAGcX4DwY`.
    public static func text(_ fingerprint: [UInt8]) -> String {
        "SHA256:" + Data(fingerprint).base64EncodedString().prefix { $0 != "=" }
    }
}
