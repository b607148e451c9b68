import Crypto

/// Random secrets and their hashes. Only hashes are kept.
public enum SecretText {
    /// 256 random bits from the kernel, as 64 hex digits.
    public static func random() -> String {
        var generator = SystemRandomNumberGenerator()
        var text = ""
        for _ in 0..<4 {
            let part = String(generator.next() as UInt64, radix: 16)
            text += String(repeating: "0", count: 16 - part.count) + part
        }
        return text
    }

    /// SHA-256 of the UTF-8 bytes.
    public static func hash(_ secret: String) -> [UInt8] { Array(SHA256.hash(data: Array(secret.utf8))) }
}
