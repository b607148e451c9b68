import Domain

/// Where a reader of a build's log goes on.
public struct BuildLogPosition: Sendable, Hashable {
    /// Number of the next line, from 0.
    public var line: Int
    /// The store's own idea of where that line begins.
    public var offset: Int64
    public init(line: Int = 0, offset: Int64 = 0) {
        self.line = line
        self.offset = offset
    }
    public static let start = BuildLogPosition()
}

/// The kept output of builds. Lines and the place in the container's log that they came from are stored together, so that
/// after a restart no line is lost or doubled.
public protocol BuildLogStore: Sendable {
    /// Appends lines. `cursor`: where reading of the container's log goes on after them; nil leaves it as it is.
    func append(_ build: BuildID, _ lines: [String], cursor: LogCursor?) async throws(PaaSError)
    /// At most `limit` lines from `position` on; none at the end or if there is no log.
    func read(_ build: BuildID, from position: BuildLogPosition, limit: Int) async throws(PaaSError) -> (
        lines: [String], next: BuildLogPosition
    )
    func cursor(_ build: BuildID) async throws(PaaSError) -> LogCursor?
    /// Fine for one that is not there.
    func remove(_ build: BuildID) async throws(PaaSError)
    /// Builds that have a log.
    func list() async throws(PaaSError) -> [BuildID]
}
