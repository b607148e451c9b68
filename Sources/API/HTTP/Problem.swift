import Domain
import HTTPTypes
import Hummingbird

extension PaaSError.Code {
    /// The path is there, but not with this method (405).
    static let methodNotAllowed = PaaSError.Code(rawValue: "method-not-allowed")
    /// Asked too often (429).
    static let tooManyRequests = PaaSError.Code(rawValue: "too-many-requests")
    /// A body of a kind that is not read here (415).
    static let unsupportedMediaType = PaaSError.Code(rawValue: "unsupported-media-type")
}

/// `application/problem+json` (RFC 9457), the one form of every error of the API.
enum Problem {
    /// The one place where kinds of failure become HTTP status codes.
    static func status(_ code: PaaSError.Code) -> HTTPResponse.Status {
        switch code {
        case .malformed: .badRequest
        case .invalid, .exhausted, .appFailed: .unprocessableContent
        case .unauthenticated: .unauthorized
        case .forbidden: .forbidden
        case .notFound: .notFound
        case .methodNotAllowed: .methodNotAllowed
        case .conflict, .stale, .cancelled: .conflict
        case .preconditionFailed: .preconditionFailed
        case .tooLarge: .contentTooLarge
        case .tooManyRequests: .tooManyRequests
        case .unsupportedMediaType: .unsupportedMediaType
        case .timeout: .gatewayTimeout
        case .unavailable: .serviceUnavailable
        default: .internalServerError
        }
    }

    static func title(_ code: PaaSError.Code) -> String {
        switch code {
        case .malformed: "Malformed request"
        case .invalid: "Request can't be fulfilled"
        case .exhausted: "Quota or range used up"
        case .appFailed: "The app failed"
        case .unauthenticated: "Not authenticated"
        case .forbidden: "Not allowed"
        case .notFound: "Not found"
        case .methodNotAllowed: "Method not allowed"
        case .conflict: "Conflict with the present state"
        case .stale: "Another control plane is in charge"
        case .cancelled: "Cancelled"
        case .preconditionFailed: "Changed in the meantime"
        case .tooLarge: "Too large"
        case .tooManyRequests: "Asked too often"
        case .unsupportedMediaType: "Unsupported media type"
        case .timeout: "Timed out"
        case .unavailable: "Temporarily unavailable"
        default: "Internal error"
        }
    }

    static func json(_ code: PaaSError.Code, _ detail: String, _ parameters: [PaaSError.InvalidParameter] = [])
        -> JSONValue
    {
        var members: [JSONValue.Member] = [
            .init("type", .string("urn:slipway:problem:\(code.rawValue)")),
            .init("title", .string(title(code))),
            .init("status", .integer(Int64(status(code).code))),
            .init("detail", .string(detail)),
        ]
        if !parameters.isEmpty {
            members.append(
                .init(
                    "invalidParams",
                    .array(
                        parameters.map {
                            .object([.init("name", .string($0.name)), .init("reason", .string($0.reason))])
                        })))
        }
        return .object(members)
    }

    /// For `error` of builds and operations; null for none.
    static func json(_ report: ErrorReport?) -> JSONValue {
        report.map { json($0.code, $0.message) } ?? .null
    }

    static func response(_ error: PaaSError, headers: HTTPFields = [:]) -> Response {
        var fields = headers
        fields[.contentType] = "application/problem+json"
        fields[.cacheControl] = "no-store"
        if error.code == .unauthenticated { fields[.wwwAuthenticate] = Authenticator.challenge }
        if error.code == .unavailable { fields[.retryAfter] = "1" }
        let bytes = json(error.code, error.message, error.invalidParameters).encoded() + [10]
        return Response(status: status(error.code), headers: fields, body: .init(byteBuffer: ByteBuffer(bytes: bytes)))
    }
}
