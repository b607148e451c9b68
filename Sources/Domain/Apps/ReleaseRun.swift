/// A command that a release runs once, in a container of its own with the release's slug and config.
public struct ReleaseRun: Sendable, Codable, Hashable {
    /// The raw value is the type of the run's process instance, which no process type may be called; its index is the release's
    /// version: `release.7`.
    public enum Kind: String, Sendable, Codable, CaseIterable {
        /// The process type `release`: before any process of the release starts. If it fails, so does the release.
        case release
        /// `scripts.postdeploy` of `app.json`: after the first release of the app that became current. If it fails, the release
        /// stays.
        case postdeploy
    }

    public enum State: String, Sendable, Codable, CaseIterable {
        /// Not begun. A run that can't be begun any more because its release is over is `superseded`.
        case pending
        /// Its instance is recorded; the container may run, have run, or be about to.
        case running
        /// Exit code 0.
        case succeeded
        /// Another exit code, its time limit, or an end that nobody saw.
        case failed
        /// A newer release took the place of its own; a container that ran was stopped.
        case superseded
    }

    /// Longest output that is kept, in bytes; of a longer one its end.
    public static let maximumOutputBytes = 64 << 10

    public var kind: Kind
    /// Of the release.
    public var version: Int
    public var state: State
    /// For `bash -c`.
    public var command: String
    /// Its only instance, once it is begun.
    public var instance: InstanceID?
    public var exitCode: Int32?
    /// Why it failed.
    public var reason: String?
    /// What it wrote, once it has ended.
    public var output: String?
    public var startedAt: Timestamp?
    public var finishedAt: Timestamp?

    /// `release.7`
    public var name: String { "\(kind.rawValue).\(version)" }

    public init(
        kind: Kind, version: Int, state: State = .pending, command: String, instance: InstanceID? = nil,
        exitCode: Int32? = nil, reason: String? = nil, output: String? = nil, startedAt: Timestamp? = nil,
        finishedAt: Timestamp? = nil
    ) {
        self.kind = kind
        self.version = version
        self.state = state
        self.command = command
        self.instance = instance
        self.exitCode = exitCode
        self.reason = reason
        self.output = output
        self.startedAt = startedAt
        self.finishedAt = finishedAt
    }

    /// The end of `lines` that fits into `maximumOutputBytes`, with a line in front if something is missing.
    /// - Parameter isWhole: whether `lines` are all that was written.
    public static func keptOutput(_ lines: [String], isWhole: Bool = true) -> String {
        var room = maximumOutputBytes
        var kept: [String] = []
        for line in lines.reversed() {
            room -= line.utf8.count + 1
            guard room >= 0 else { break }
            kept.append(line)
        }
        let text = kept.reversed().joined(separator: "\n")
        if isWhole && kept.count == lines.count { return text }
        return "(earlier lines are left out; see the app's logs)" + (text.isEmpty ? "" : "\n" + text)
    }
}

extension ProcessInstance {
    /// What it is the run of; nil for a process of the formation.
    public var runKind: ReleaseRun.Kind? { ReleaseRun.Kind(rawValue: type) }
}

/// How a run ended, as the scheduler saw it.
public struct ReleaseRunEnd: Sendable, Hashable {
    public enum Result: Sendable, Hashable {
        case succeeded
        /// Why, in words for the developer.
        case failed(String)
        /// The platform stopped it, because its release is over or the app is being deleted.
        case stopped
    }

    public var kind: ReleaseRun.Kind
    /// Of the release.
    public var version: Int
    public var instance: InstanceID
    public var result: Result
    public var exitCode: Int32?
    /// Nothing of its container lives. If not, the instance is still to be stopped.
    public var isOver: Bool

    /// `release.7`
    public var name: String { "\(kind.rawValue).\(version)" }

    public init(
        kind: ReleaseRun.Kind, version: Int, instance: InstanceID, result: Result, exitCode: Int32? = nil,
        isOver: Bool = true
    ) {
        self.kind = kind
        self.version = version
        self.instance = instance
        self.result = result
        self.exitCode = exitCode
        self.isOver = isOver
    }
}
