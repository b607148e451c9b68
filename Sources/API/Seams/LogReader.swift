import Domain

/// Which lines of an app's log are wanted.
public struct LogQuery: Sendable, Hashable {
    /// `web.1`, or a type: `web`.
    public var process: String?
    public var source: LogLine.Source?
    public init(process: String? = nil, source: LogLine.Source? = nil) {
        self.process = process
        self.source = source
    }

    public func matches(_ line: LogLine) -> Bool {
        if let source, line.source != source { return false }
        guard let process else { return true }
        return line.process == process || line.process.hasPrefix(process + ".")
    }
}

/// Reads the log of an app: lines of its processes and of the platform about it.
public protocol LogReader: Sendable {
    /// Oldest first. Without `after`: the last `limit` lines. With it: the next lines, none if there are none yet.
    func read(_ app: App, _ query: LogQuery, after: LogCursor?, limit: Int) async throws(PaaSError) -> LogPage
}

/// One of several places that lines of an app come from.
public protocol LogLines: Sendable {
    /// As `LogReader.read`, without filter.
    func lines(_ app: App, after: LogCursor?, limit: Int) async throws(PaaSError) -> LogPage
}

/// The lines that the app's processes wrote, as the engine keeps them.
public struct EngineLogLines: LogLines {
    private let engine: any ContainerEngine
    public init(engine: any ContainerEngine) { self.engine = engine }

    public func lines(_ app: App, after: LogCursor?, limit: Int) async throws(PaaSError) -> LogPage {
        try await engine.logs(app: app.id, instance: nil, after: after, limit: limit)
    }
}

/// Events of the app as lines of the source `platform`, so that a log tells when and why processes came and went.
public struct EventLogLines: LogLines {
    static let lookBack: Int64 = 20_000
    private let store: any ControlStore
    private let reader = Principal(token: TokenID.random(), name: "log", role: .viewer, space: nil)

    public init(store: any ControlStore) { self.store = store }

    public func lines(_ app: App, after: LogCursor?, limit: Int) async throws(PaaSError) -> LogPage {
        if let after, let last = Int64(after.value) {
            let events = try await store.events(after: last, limit: limit, app: app.name, for: reader)
            return LogPage(lines: events.map(Self.line), next: LogCursor(String(events.last?.id ?? last)))
        }
        // Events are read oldest first, so that the tail is found by walking a bounded stretch up to the newest.
        let newest = try await store.lastEventID()
        var position = max(0, newest - Self.lookBack)
        var tail: [Event] = []
        while position < newest {
            let part = try await store.events(after: position, limit: 1000, app: app.name, for: reader)
            guard let last = part.last else { break }
            tail += part
            if tail.count > limit { tail.removeFirst(tail.count - limit) }
            position = last.id
        }
        return LogPage(lines: tail.map(Self.line), next: LogCursor(String(max(newest, position))))
    }

    static func line(_ event: Event) -> LogLine {
        let process = event.data["process"] ?? event.data["name"] ?? "scheduler"
        var text = event.kind
        for (key, value) in event.data.sorted(by: { $0.key < $1.key }) where key != "process" {
            text += " \(key)=\(value.contains(" ") ? "\"\(value)\"" : value)"
        }
        return LogLine(time: event.time, source: .platform, process: process, text: text)
    }
}

/// Several sources as one log, in the order of time within each read.
public struct MergedLogReader: LogReader {
    /// How far back a filtered tail looks.
    static let filteredDepth = 10_000
    private let sources: [any LogLines]

    public init(_ sources: [any LogLines]) { self.sources = sources }

    public func read(_ app: App, _ query: LogQuery, after: LogCursor?, limit: Int) async throws(PaaSError) -> LogPage {
        let cursors = try after.map { cursor throws(PaaSError) in try Self.split(cursor, sources.count) }
        let isFiltered = query.process != nil || query.source != nil
        let depth = cursors == nil && isFiltered ? max(limit, Self.filteredDepth) : limit
        var lines: [LogLine] = []
        var next: [JSONValue] = []
        for (index, source) in sources.enumerated() {
            let page = try await source.lines(app, after: cursors?[index], limit: depth)
            lines += page.lines.filter(query.matches)
            next.append(.string(page.next.value))
        }
        // Stable, because lines of one process may carry the same time.
        lines = lines.enumerated().sorted { ($0.element.time, $0.offset) < ($1.element.time, $1.offset) }
            .map(\.element)
        if cursors == nil, lines.count > limit { lines.removeFirst(lines.count - limit) }
        return LogPage(
            lines: lines, next: LogCursor(String(decoding: JSONValue.array(next).encoded(), as: UTF8.self)))
    }

    private static func split(_ cursor: LogCursor, _ count: Int) throws(PaaSError) -> [LogCursor] {
        guard let parts = try JSONParser.parse(Array(cursor.value.utf8)).arrayValue, parts.count == count else {
            throw PaaSError(.malformed, "not a place in this log")
        }
        return parts.map { LogCursor($0.stringValue ?? "") }
    }
}
