/// Long work that a caller can poll (states of ETSI GS NFV-SOL 003, 5.6.2.2).
public struct Operation: Sendable, Codable, Hashable {
    public enum State: String, Sendable, Codable, CaseIterable {
        case starting, processing, completed, failedTemp, failed, rollingBack, rolledBack, cancelled
        public var isFinal: Bool {
            self == .completed || self == .failed || self == .rolledBack || self == .cancelled
        }
    }

    public struct Kind: Hashable, Sendable, Codable, RawRepresentable {
        public let rawValue: String
        public init(rawValue: String) { self.rawValue = rawValue }
        public static let build = Kind(rawValue: "build")
        public static let release = Kind(rawValue: "release")
        public static let config = Kind(rawValue: "config")
        public static let scale = Kind(rawValue: "scale")
        public static let replaceProcess = Kind(rawValue: "replace-process")
        public static let deleteApp = Kind(rawValue: "delete-app")
    }

    public var id: OperationID
    public var kind: Kind
    public var app: AppID?
    /// Path of the object that it works on, as in `/api/v1/apps/x/releases/3`.
    public var target: String
    /// Process types (`web`) or single processes (`web.1`) that it is about; empty: all of the app.
    public var scope: [String]
    public var state: State
    /// Started by the platform itself (healing), not by a caller.
    public var automatic: Bool
    /// 0 to 1.
    public var progress: Double
    public var error: ErrorReport?
    public var startedAt: Timestamp
    public var finishedAt: Timestamp?

    public init(
        id: OperationID, kind: Kind, app: AppID?, target: String, scope: [String] = [], state: State = .starting,
        automatic: Bool = false,
        progress: Double = 0, error: ErrorReport? = nil, startedAt: Timestamp, finishedAt: Timestamp? = nil
    ) {
        self.id = id
        self.kind = kind
        self.app = app
        self.target = target
        self.scope = scope
        self.state = state
        self.automatic = automatic
        self.progress = progress
        self.error = error
        self.startedAt = startedAt
        self.finishedAt = finishedAt
    }
}

extension Operation {
    /// Whether it is about the process `type.index`.
    public func concerns(_ type: String, _ index: Int) -> Bool {
        scope.isEmpty || scope.contains(type) || scope.contains("\(type).\(index)")
    }
}
