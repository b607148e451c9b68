import Domain

/// How one part of the platform does.
public struct ComponentStatus: Sendable, Hashable {
    public enum State: String, Sendable { case up, degraded, down }
    /// `paasd`, `postgres`, `engine`, `git`, `router`.
    public var name: String
    public var state: State
    /// What is wrong and what to do, or a version.
    public var detail: String?
    public init(name: String, state: State, detail: String? = nil) {
        self.name = name
        self.state = state
        self.detail = detail
    }
}

/// One check of the host.
public struct DoctorCheck: Sendable, Hashable {
    public enum State: String, Sendable { case ok, warning, failed }
    public var name: String
    public var state: State
    /// What was seen.
    public var found: String
    /// What to do about it; nil when there is nothing to do.
    public var fix: String?
    public init(name: String, state: State, found: String, fix: String? = nil) {
        self.name = name
        self.state = state
        self.found = found
        self.fix = fix
    }
}

/// How git is reached over SSH.
public struct SSHAddress: Sendable, Hashable {
    /// `ssh://USER@HOST:PORT`, to be followed by `/APP.git`.
    public var url: String
    /// Of the host key, as ssh shows it at the first connection; nil while there is none.
    public var hostKey: String?
    public init(url: String, hostKey: String?) {
        self.url = url
        self.hostKey = hostKey
    }
}

/// Looks at the platform's own parts.
public protocol StatusSource: Sendable {
    /// Version of the platform, as in `0.1.0`.
    var version: String { get }
    /// Nil: git is not served over SSH.
    var ssh: SSHAddress? { get }
    func components() async -> [ComponentStatus]
    func doctor() async throws(PaaSError) -> [DoctorCheck]
}
