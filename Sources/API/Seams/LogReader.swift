import Domain

/// Reads the log of an app: lines of its processes and of the platform about it.
public protocol LogReader: Sendable {
    /// Oldest first. Without `after`: the last `limit` lines. With it: the next lines, none if there are none yet.
    func read(_ app: App, _ query: LogQuery, after: LogCursor?, limit: Int) async throws(PaaSError) -> LogPage
}

/// The lines that the app's processes wrote, as the engine keeps them.
public struct EngineLogLines: LogLines {
    private let engine: any ContainerEngine
    public init(engine: any ContainerEngine) { self.engine = engine }

    public func lines(_ app: AppID, _ query: LogQuery, after: LogCursor?, limit: Int) async throws(PaaSError)
        -> LogPage
    {
        try await engine.logs(app: app, instance: nil, matching: query, after: after, limit: limit)
    }
}

/// Several sources as one log, in the order of time within each read. A source that is away is said so by a line, once; the
/// others are shown meanwhile.
public struct MergedLogReader: LogReader {
    /// How many lines of a source that was away at first are shown when it is back.
    static let lateLines = 100
    private let sources: [any LogLines]

    public init(_ sources: [any LogLines]) { self.sources = sources }

    /// How far one source was read.
    private struct Place {
        /// Nil: not at all.
        var cursor: LogCursor?
        /// It was away at the last read, which a line told.
        var isAway = false

        var json: JSONValue {
            let text = JSONValue.text(cursor?.value)
            return isAway ? .object([.init("away", text)]) : text
        }
    }

    public func read(_ app: App, _ query: LogQuery, after: LogCursor?, limit: Int) async throws(PaaSError) -> LogPage {
        var places = try after.map { cursor throws(PaaSError) in try split(cursor) } ?? sources.map { _ in Place() }
        var lines: [LogLine] = []
        for (index, source) in sources.enumerated() {
            let cursor = places[index].cursor
            let wanted = after != nil && cursor == nil ? min(limit, Self.lateLines) : limit
            do throws(PaaSError) {
                let page = try await source.lines(app.id, query, after: cursor, limit: wanted)
                lines += page.lines.filter(query.matches)
                places[index] = Place(cursor: page.next)
            } catch {
                guard error.code == .unavailable || error.code == .timeout else { throw error }
                if !places[index].isAway {
                    lines.append(
                        LogLine(
                            time: .now(), source: .platform, process: "logs",
                            text: "a part of this log can't be read now: \(error.message)"))
                }
                places[index].isAway = true
            }
        }
        // Stable, because lines of one process may carry the same time.
        lines = lines.enumerated().sorted { ($0.element.time, $0.offset) < ($1.element.time, $1.offset) }
            .map(\.element)
        if after == nil, lines.count > limit { lines.removeFirst(lines.count - limit) }
        let next = JSONValue.array(places.map(\.json))
        return LogPage(lines: lines, next: LogCursor(String(decoding: next.encoded(), as: UTF8.self)))
    }

    private func split(_ cursor: LogCursor) throws(PaaSError) -> [Place] {
        guard let parts = try JSONParser.parse(Array(cursor.value.utf8)).arrayValue, parts.count == sources.count else {
            throw PaaSError(.malformed, "not a place in this log; leave out Last-Event-ID to start at the end")
        }
        return parts.map { part in
            let away = part["away"]
            return Place(cursor: (away ?? part).stringValue.map { LogCursor($0) }, isAway: away != nil)
        }
    }
}
