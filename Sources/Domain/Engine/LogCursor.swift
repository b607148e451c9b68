/// A place in the log of an app, where reading goes on. Opaque to everyone but the engine that gave it.
public struct LogCursor: Sendable, Codable, Hashable {
    public var value: String
    public init(_ value: String) { self.value = value }
}

/// One line that a process wrote, or the platform about it.
public struct LogLine: Sendable, Codable, Hashable {
    public enum Source: String, Sendable, Codable, CaseIterable { case app, router, platform, build }

    public var time: Timestamp
    public var source: Source
    /// `web.1`, `build.12`, `scheduler`.
    public var process: String
    /// Bytes that are no valid UTF-8 are replaced.
    public var text: String
    /// The line went on; this is a part of it (16 KiB and more).
    public var partial: Bool

    public init(time: Timestamp, source: Source, process: String, text: String, partial: Bool = false) {
        self.time = time
        self.source = source
        self.process = process
        self.text = text
        self.partial = partial
    }
}

/// Which lines of an app's log are wanted.
public struct LogQuery: Sendable, Codable, Hashable {
    /// `web.1`, or a type: `web`.
    public var process: String?
    /// Nil: every source.
    public var source: LogLine.Source?
    public init(process: String? = nil, source: LogLine.Source? = nil) {
        self.process = process
        self.source = source
    }

    /// Whether a line of this process and source is wanted.
    public func matches(process other: String, source otherSource: LogLine.Source) -> Bool {
        if let source, otherSource != source { return false }
        guard let process else { return true }
        return other == process || other.hasPrefix(process + ".")
    }

    public func matches(_ line: LogLine) -> Bool { matches(process: line.process, source: line.source) }
}

public struct LogPage: Sendable, Codable, Hashable {
    public var lines: [LogLine]
    /// Where the next read goes on.
    public var next: LogCursor
    public init(lines: [LogLine], next: LogCursor) {
        self.lines = lines
        self.next = next
    }
}
