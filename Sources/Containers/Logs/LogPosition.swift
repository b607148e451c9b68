import Domain

/// How far the log of one run was read: the segment is known by the time of its first line, so that the place holds when
/// files are renamed.
struct LogPosition: Sendable, Hashable {
    /// As written in the file; empty before the first line.
    var segment: String
    /// Bytes of the segment that were read.
    var offset: Int

    static let start = LogPosition(segment: "", offset: 0)
}

/// The positions in all runs of an app, as text: `INSTANCE=SEGMENT@OFFSET,…`.
enum LogCursorText {
    static let maximumBytes = 256 << 10

    static func write(_ positions: [InstanceID: LogPosition]) -> LogCursor {
        LogCursor(
            positions.sorted { $0.key < $1.key }.map { "\($0.key)=\($0.value.segment)@\($0.value.offset)" }
                .joined(separator: ","))
    }

    static func read(_ cursor: LogCursor) throws(PaaSError) -> [InstanceID: LogPosition] {
        let broken = PaaSError(.malformed, "this log cursor can't be read; start without one")
        guard cursor.value.utf8.count <= maximumBytes else { throw broken }
        var positions: [InstanceID: LogPosition] = [:]
        for part in cursor.value.split(separator: ",") {
            guard let equals = part.firstIndex(of: "="), let at = part.lastIndex(of: "@"), equals < at,
                let id = InstanceID(part[..<equals]), let offset = Int(part[part.index(after: at)...]), offset >= 0
            else { throw broken }
            positions[id] = LogPosition(segment: String(part[part.index(after: equals)..<at]), offset: offset)
        }
        return positions
    }
}
