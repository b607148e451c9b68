import Domain
import FoundationEssentials
import Logging

/// The platform's own log: one JSON object a line on standard error, which the supervisor keeps and rotates.
/// Logs of apps take another path.
public enum PlatformLog {
    /// Sets the log up for this program. To be called once, first.
    public static func start(program: String, level: Logger.Level = .info) -> Logger {
        LoggingSystem.bootstrap { label in JSONLogHandler(program: program, label: label, level: level) }
        return Logger(label: program)
    }
}

/// Writes each entry with one `write`, so that lines of several threads don't mix.
struct JSONLogHandler: LogHandler {
    private struct Line: Encodable {
        var time: String
        var level: String
        var program: String
        var source: String
        var message: String
        var fields: [String: String]?
    }

    let program: String
    let label: String
    var logLevel: Logger.Level
    var metadata: Logger.Metadata = [:]

    init(program: String, label: String, level: Logger.Level) {
        self.program = program
        self.label = label
        logLevel = level
    }

    subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { metadata[key] }
        set { metadata[key] = newValue }
    }

    func log(event: LogEvent) {
        var fields: [String: String] = [:]
        for (key, value) in metadata { fields[key] = "\(value)" }
        for (key, value) in event.metadata ?? [:] { fields[key] = "\(value)" }
        let line = Line(
            time: Timestamp.now().description, level: event.level.rawValue, program: program, source: label,
            message: event.message.description, fields: fields.isEmpty ? nil : fields)
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        guard var bytes = try? encoder.encode(line) else { return }
        bytes.append(10)
        StandardError.write(bytes)
    }
}
