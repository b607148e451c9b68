/// Takes lines that the platform writes about an app. Never blocks: an implementation queues within a bound, and says so
/// in the log when it had to drop lines.
public protocol LogSink: Sendable {
    func append(app: AppID, _ line: LogLine)
}

/// One of several places that lines of an app come from.
public protocol LogLines: Sendable {
    /// Oldest first, only what `query` wants. Without `after`: the last `limit` lines. With it: the next lines, none if there
    /// are none yet.
    func lines(_ app: AppID, _ query: LogQuery, after: LogCursor?, limit: Int) async throws(PaaSError) -> LogPage
}
