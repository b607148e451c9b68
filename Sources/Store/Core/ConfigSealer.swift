import Crypto
import Domain
import FoundationEssentials

/// Config vars, and answers that are kept, to and from their encrypted form: a format byte, then AES-GCM (random nonce, ciphertext, tag). App, version
/// and key are authenticated with it, so that a blob opens only where it was written.
struct ConfigSealer: Sendable {
    private static let format: UInt8 = 1
    private let key: EncryptionKey

    init(_ key: EncryptionKey) { self.key = key }

    func seal(_ vars: ConfigVars, app: AppID, version: Int) throws(PaaSError) -> [UInt8] {
        do {
            let plain = try JSONEncoder().encode(vars.mapValues { Data($0.bytes) })
            let box = try AES.GCM.seal(plain, using: key.key, authenticating: Self.context(app, version))
            guard let combined = box.combined else { throw PaaSError(.internal, "config can't be encrypted") }
            return [Self.format] + Array(combined)
        } catch {
            // Without the cause: it could describe what was encoded.
            throw PaaSError(.internal, "config can't be encrypted; the platform's log has the details")
        }
    }

    func open(_ sealed: [UInt8], app: AppID, version: Int) throws(PaaSError) -> ConfigVars {
        do {
            guard sealed.first == Self.format else { throw PaaSError(.internal, "unknown format") }
            let box = try AES.GCM.SealedBox(combined: sealed.dropFirst())
            let plain = try AES.GCM.open(box, using: key.key, authenticating: Self.context(app, version))
            return try JSONDecoder().decode([String: Data].self, from: plain).mapValues {
                try ConfigValue(Array($0))
            }
        } catch {
            throw PaaSError(
                .internal,
                "config version \(version) can't be decrypted: it was written with another encryption key, or changed; restore the right secret.key"
            )
        }
    }

    /// Encrypts the body of an answer.
    /// - Parameter context: authenticated with it: it opens only with the same.
    func seal(answer: [UInt8], context: String) throws(PaaSError) -> [UInt8] {
        do {
            let box = try AES.GCM.seal(answer, using: key.key, authenticating: Data(context.utf8))
            guard let combined = box.combined else { throw PaaSError(.internal, "an answer can't be encrypted") }
            return [Self.format] + Array(combined)
        } catch {
            throw PaaSError(.internal, "an answer can't be encrypted; the platform's log has the details", cause: error)
        }
    }

    func open(answer sealed: [UInt8], context: String) throws(PaaSError) -> [UInt8] {
        do {
            guard sealed.first == Self.format else { throw PaaSError(.internal, "unknown format") }
            let box = try AES.GCM.SealedBox(combined: sealed.dropFirst())
            return Array(try AES.GCM.open(box, using: key.key, authenticating: Data(context.utf8)))
        } catch {
            throw PaaSError(
                .internal,
                "the answer kept under this Idempotency-Key can't be decrypted: it was written with another encryption key, or changed; restore the right secret.key, or send another Idempotency-Key",
                cause: error)
        }
    }

    private static func context(_ app: AppID, _ version: Int) -> Data {
        Data("slipway config, app \(app), version \(version), key 1".utf8)
    }
}
