import Domain
import FoundationEssentials
import HTTPTypes
import Hummingbird

/// Finds out who is calling: `Authorization: Bearer TOKEN`, Basic with the token as password and any user name, or
/// `X-Auth-Token: TOKEN`.
struct Authenticator: Sendable {
    static let challenge = "Bearer realm=\"Slipway\", Basic realm=\"Slipway\", charset=\"UTF-8\""
    static let maximumSecretBytes = 4096

    let store: any ControlStore
    /// Of the built-in admin, who may look at the platform's status also while the database is away.
    let adminTokenHash: [UInt8]?

    enum Credential: Equatable {
        case none
        case secret(String)
        case unreadable
    }

    /// - Throws: `unauthenticated` without a valid token.
    func principal(_ headers: HTTPFields, now: Timestamp) async throws(PaaSError) -> Principal {
        switch Self.credential(headers) {
        case .none:
            throw PaaSError(
                .unauthenticated, "no token was sent; send it as 'Authorization: Bearer TOKEN' (paasctl login)")
        case .unreadable:
            throw PaaSError(
                .unauthenticated,
                "the credentials can't be read; send 'Authorization: Bearer TOKEN', or Basic with the token as password"
            )
        case .secret(let secret):
            guard let principal = try await principal(secretHash: SecretText.hash(secret), now: now) else {
                throw PaaSError(
                    .unauthenticated,
                    "the token is unknown, expired or revoked; ask an admin for a new one (paasctl tokens create), then paasctl login"
                )
            }
            return principal
        }
    }

    private func principal(secretHash: [UInt8], now: Timestamp) async throws(PaaSError) -> Principal? {
        do throws(PaaSError) {
            return try await store.principal(secretHash: secretHash, now: now)
        } catch {
            guard error.code == .unavailable, secretHash == adminTokenHash else { throw error }
            return Principal(token: .random(), name: "admin", role: .admin, space: nil)
        }
    }

    static func credential(_ headers: HTTPFields) -> Credential {
        if let value = headers[.authorization] {
            let parts = value.split(separator: " ", maxSplits: 1, omittingEmptySubsequences: true)
            guard parts.count == 2 else { return .unreadable }
            switch parts[0].lowercased() {
            case "bearer": return secret(parts[1].trimmingWhitespace())
            case "basic":
                guard let data = Data(base64Encoded: String(parts[1].trimmingWhitespace())),
                    let text = String(validating: data, as: UTF8.self), let colon = text.firstIndex(of: ":")
                else { return .unreadable }
                return secret(text[text.index(after: colon)...])
            default: return .unreadable
            }
        }
        if let name = HTTPField.Name("X-Auth-Token"), let value = headers[name] {
            return secret(value.trimmingWhitespace())
        }
        return .none
    }

    private static func secret(_ text: some StringProtocol) -> Credential {
        guard !text.isEmpty, text.utf8.count <= maximumSecretBytes else { return .unreadable }
        return .secret(String(text))
    }
}
