/// The one error type at the seams: what went wrong, in words that are safe to show to the caller, and what to do next.
///
/// `message` never holds a secret and never repeats `cause`; `cause` is for the platform's log only.
public struct PaaSError: Error, Sendable, CustomStringConvertible {
    /// What kind of failure this is. HTTP status codes and CLI exit codes are derived from it in one place each.
    public struct Code: Hashable, Sendable, Codable, RawRepresentable, CustomStringConvertible {
        public let rawValue: String
        public init(rawValue: String) { self.rawValue = rawValue }
        public var description: String { rawValue }

        /// The bytes sent can't be read as what they should be (400).
        public static let malformed = Code(rawValue: "malformed")
        /// Well formed, but impossible (422).
        public static let invalid = Code(rawValue: "invalid")
        /// No token, or one that is not (or no longer) valid (401).
        public static let unauthenticated = Code(rawValue: "unauthenticated")
        /// The caller may know of it, but not do it (403).
        public static let forbidden = Code(rawValue: "forbidden")
        /// Not there, or nothing the caller may know of (404).
        public static let notFound = Code(rawValue: "not-found")
        /// At odds with the present state (409).
        public static let conflict = Code(rawValue: "conflict")
        /// `If-Match` names another version (412).
        public static let preconditionFailed = Code(rawValue: "precondition-failed")
        /// More bytes than allowed (413).
        public static let tooLarge = Code(rawValue: "too-large")
        /// A quota or a range is used up (422).
        public static let exhausted = Code(rawValue: "exhausted")
        /// Took longer than allowed (504).
        public static let timeout = Code(rawValue: "timeout")
        /// A part that the platform depends on is away (503).
        public static let unavailable = Code(rawValue: "unavailable")
        /// An older epoch or generation was refused (409): another paasd is in charge now.
        public static let stale = Code(rawValue: "stale")
        /// The app's own code or configuration failed: a build, a start, a release (422).
        public static let appFailed = Code(rawValue: "app-failed")
        /// Cancelled by a user (409).
        public static let cancelled = Code(rawValue: "cancelled")
        /// A fault of the platform (500).
        public static let `internal` = Code(rawValue: "internal")
    }

    /// Who caused the failure.
    public enum Source: String, Sendable, Codable { case client, app, platform, dependency }

    /// Whether trying again makes sense.
    public enum Retry: String, Sendable, Codable {
        case never, safe
        /// After reading the present state again.
        case afterRefresh
    }

    /// One parameter of the caller's that can't be accepted.
    public struct InvalidParameter: Sendable, Codable, Hashable {
        public var name: String
        public var reason: String
        public init(name: String, reason: String) {
            self.name = name
            self.reason = reason
        }
    }

    public var code: Code
    public var message: String
    public var source: Source
    public var retry: Retry
    public var invalidParameters: [InvalidParameter]
    public var cause: (any Error)?

    public init(
        _ code: Code, _ message: String, source: Source? = nil, retry: Retry? = nil,
        invalidParameters: [InvalidParameter] = [], cause: (any Error)? = nil
    ) {
        self.code = code
        self.message = message
        self.source = source ?? Self.defaultSource(code)
        self.retry = retry ?? Self.defaultRetry(code)
        self.invalidParameters = invalidParameters
        self.cause = cause
    }

    public var description: String { "\(code): \(message)" }

    private static func defaultSource(_ code: Code) -> Source {
        switch code {
        case .unavailable, .timeout: .dependency
        case .internal, .stale: .platform
        case .appFailed: .app
        default: .client
        }
    }

    private static func defaultRetry(_ code: Code) -> Retry {
        switch code {
        case .unavailable, .timeout: .safe
        case .conflict, .preconditionFailed, .stale: .afterRefresh
        default: .never
        }
    }
}

/// The part of a `PaaSError` that is stored and sent on: in builds, operations and engine replies.
public struct ErrorReport: Sendable, Codable, Hashable {
    public var code: PaaSError.Code
    public var message: String

    public init(code: PaaSError.Code, message: String) {
        self.code = code
        self.message = message
    }

    public init(_ error: any Error) {
        if let known = error as? PaaSError {
            self.init(code: known.code, message: known.message)
        } else {
            self.init(code: .internal, message: "internal error; the platform's log has the details")
        }
    }

    public var asError: PaaSError { PaaSError(code, message) }
}
