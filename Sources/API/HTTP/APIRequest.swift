import Domain
import HTTPTypes
import Hummingbird
import HummingbirdCore
import Logging
import NIOCore

/// Whoever sent a request may lose the right to its reply while that goes on.
struct CallerCheck: Sendable {
    /// How often an endless reply looks.
    var recheckSeconds: Double
    /// Who the request's token belongs to now.
    /// - Throws: `unauthenticated` once it has expired or was revoked.
    var principal: @Sendable () async throws(PaaSError) -> Principal
}

/// One request after routing and authentication.
struct APIRequest: Sendable {
    /// Largest JSON body unless an endpoint says otherwise.
    static let defaultBodyLimit = 1 << 20

    var request: Request
    /// Values of the path's `{name}` parts, decoded.
    var parameters: [String: String]
    /// Decoded; only names that the route knows.
    var query: [String: String]
    var principal: Principal
    var caller: CallerCheck
    var now: Timestamp
    /// Of a POST that names an `Idempotency-Key`.
    var repetition: RequestIdentity?
    var logger: Logger

    func parameter(_ name: String) -> String { parameters[name] ?? "" }
    var headers: HTTPFields { request.headers }

    /// - Throws: `forbidden` for a role that only reads.
    func requireChange() throws(PaaSError) {
        guard principal.mayChangeApps else {
            throw PaaSError(
                .forbidden, "the role \(principal.role.rawValue) may only read; use a token of another role")
        }
    }

    /// - Throws: `forbidden` for every role but admin.
    func requireAdmin(_ what: String) throws(PaaSError) {
        guard principal.mayAdministrate else {
            throw PaaSError(.forbidden, "only an admin may \(what); use an admin token")
        }
    }

    /// - Throws: `forbidden` for a role that may see apps, but not their secrets.
    func requireSecrets() throws(PaaSError) {
        guard principal.role != .viewer else {
            throw PaaSError(
                .forbidden,
                "config values are secrets, which the role viewer may not read; use a token of another role, such as developer"
            )
        }
    }

    /// Scheme, host and port by which the caller reached the API; nil if it didn't say, or nothing that can be a host.
    var origin: String? {
        guard let authority = request.head.authority, !authority.isEmpty, authority.utf8.count <= 255,
            authority.utf8.allSatisfy({
                ($0 >= 97 && $0 <= 122) || ($0 >= 65 && $0 <= 90) || ($0 >= 48 && $0 <= 57)
                    || ".-:[]_".utf8.contains($0)
            })
        else { return nil }
        // A TLS proxy in front says so.
        let forwarded = HTTPField.Name("X-Forwarded-Proto").flatMap { headers[$0] }
        return "\(forwarded?.lowercased() == "https" ? "https" : "http")://\(authority)"
    }

    // MARK: Query

    func integer(_ name: String, default fallback: Int, in range: ClosedRange<Int>) throws(PaaSError) -> Int {
        guard let text = query[name] else { return fallback }
        guard let value = Int(text), range.contains(value) else {
            throw PaaSError(
                .malformed,
                "query parameter \(name) must be a whole number from \(range.lowerBound) to \(range.upperBound)",
                invalidParameters: [.init(name: name, reason: "out of range or not a number")])
        }
        return value
    }

    func flag(_ name: String) throws(PaaSError) -> Bool {
        switch query[name] {
        case nil, "0", "false": return false
        case "1", "true", "": return true
        default:
            throw PaaSError(
                .malformed, "query parameter \(name) must be 1 or 0",
                invalidParameters: [.init(name: name, reason: "not a boolean")])
        }
    }

    /// True if the caller prefers `type` (as in `text/event-stream`) by naming it.
    func accepts(_ type: String) -> Bool {
        (headers[.accept] ?? "").split(separator: ",").contains { part in
            part.split(separator: ";").first.map { $0.trimmingWhitespace().lowercased() == type } ?? false
        }
    }

    // MARK: Body

    /// The whole body.
    /// - Throws: `tooLarge` naming the limit.
    func body(limit: Int = APIRequest.defaultBodyLimit) async throws(PaaSError) -> [UInt8] {
        let tooLarge = PaaSError(.tooLarge, "the body may have at most \(limit) bytes")
        if let text = headers[.contentLength], let length = Int(text), length > limit { throw tooLarge }
        var bytes: [UInt8] = []
        do {
            for try await buffer in request.body {
                guard bytes.count + buffer.readableBytes <= limit else { throw tooLarge }
                bytes += buffer.readableBytesView
            }
        } catch let error as PaaSError {
            throw error
        } catch {
            throw PaaSError(.malformed, "the body ended early", cause: error)
        }
        return bytes
    }

    /// The body as JSON.
    /// - Parameter allowEmpty: no body at all counts as `{}`.
    func json(limit: Int = APIRequest.defaultBodyLimit, allowEmpty: Bool = false) async throws(PaaSError) -> JSONValue {
        let bytes = try await body(limit: limit)
        if bytes.isEmpty, allowEmpty { return .object([]) }
        guard !bytes.isEmpty else { throw PaaSError(.malformed, "the body is empty; send a JSON document") }
        // Only Basic credentials are kept by browsers. With them a body must be of a kind that no web page can send across
        // origins; a token that the caller set itself is proof enough, whatever type its HTTP library puts there.
        if CrossSite.isBasic(headers) {
            let type =
                (headers[.contentType] ?? "").split(separator: ";").first?.trimmingWhitespace().lowercased() ?? ""
            guard type == "application/json" || (type.hasPrefix("application/") && type.hasSuffix("+json")) else {
                throw PaaSError(
                    .unsupportedMediaType,
                    "with Basic credentials a body must have the Content-Type application/json")
            }
        }
        return try JSONParser.parse(bytes)
    }

    /// No body is expected; one that is there must be empty or `{}`.
    func noBody() async throws(PaaSError) {
        let bytes = try await body(limit: 4096)
        guard !bytes.isEmpty else { return }
        _ = try JSONFields(try JSONParser.parse(bytes), allowed: [])
    }
}
