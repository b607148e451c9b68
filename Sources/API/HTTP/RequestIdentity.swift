import Crypto
import Domain
import FoundationEssentials
import HTTPTypes
import Hummingbird
import HummingbirdCore

/// Tells a request with an `Idempotency-Key` from others: a repetition has the same.
struct RequestIdentity: Sendable {
    static let keyHeader = HTTPField.Name("Idempotency-Key")

    let key: IdempotencyKey
    /// SHA-256 of what is asked.
    let fingerprint: [UInt8]

    /// - Parameter body: nil for one that is not held in memory: its length, as far as it is told, stands for it.
    init(key: IdempotencyKey, request: Request, body: [UInt8]?) {
        self.key = key
        var hash = SHA256()
        // Each part with its length: no two requests give the same bytes.
        func add(_ part: [UInt8]) {
            hash.update(data: Array("\(part.count):".utf8))
            hash.update(data: part)
        }
        add(Array(request.method.rawValue.utf8))
        add(Array(request.head.path.map { Array($0.utf8) } ?? []))
        add(Array((request.headers[.contentType] ?? "").utf8))
        if let body {
            add(Array("body".utf8))
            add(body)
        } else {
            add(Array("length".utf8))
            add(Array((request.headers[.contentLength] ?? "unknown").utf8))
        }
        fingerprint = Array(hash.finalize())
    }

    /// Nil for a request that names none.
    /// - Throws: `malformed` for one that is none, or several.
    static func key(_ headers: HTTPFields, token: TokenID) throws(PaaSError) -> IdempotencyKey? {
        guard let name = keyHeader else { return nil }
        let values = headers[values: name]
        guard let text = values.first else { return nil }
        guard values.count == 1 else {
            throw PaaSError(
                .malformed, "send one Idempotency-Key, not \(values.count)",
                invalidParameters: [.init(name: "Idempotency-Key", reason: "sent more than once")])
        }
        return try IdempotencyKey(token: token, text: text)
    }

    /// The id of the build that this request opens: the same for its repetition, also when the answer was lost with paasd.
    /// A UUID of version 8 (RFC 9562).
    func build(of app: AppID) -> BuildID {
        var hash = SHA256()
        for part in ["slipway build", "\(key.token)", "\(app)", key.text] {
            hash.update(data: Array("\(part.utf8.count):\(part)".utf8))
        }
        hash.update(data: fingerprint)
        var b = Array(hash.finalize().prefix(16))
        b[6] = b[6] & 0x0f | 0x80
        b[8] = b[8] & 0x3f | 0x80
        return BuildID(
            UUID(
                uuid: (
                    b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7], b[8], b[9], b[10], b[11], b[12], b[13], b[14], b[15]
                )))
    }
}
