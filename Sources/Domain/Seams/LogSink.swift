/// Takes lines that the platform writes about an app. Never blocks: an implementation queues within a bound, and says so
/// in the log when it had to drop lines.
public protocol LogSink: Sendable {
    func append(app: AppID, _ line: LogLine)
}
