import Domain
import Glibc
import OS

/// The log of one run of one process: what conmon writes now, and older segments. Files `<instance>.log` and
/// `<instance>.<number>.log`, the higher number the younger.
struct LogRun: Sendable {
    struct Name: Codable, Sendable {
        var name: String
        var source: LogLine.Source
    }

    struct Segment: Sendable, Hashable {
        var path: String
        /// Nil: the one that is written.
        var number: Int?

        /// Whether conmon went on in this one where it ended `other`.
        func follows(_ other: Segment) -> Bool {
            guard let before = other.number else { return false }
            return number == nil || number == before + 1
        }
    }

    struct Item: Sendable {
        var nanoseconds: Int64
        /// From standard error.
        var isError: Bool
        var line: LogLine
        /// Right after this line.
        var position: LogPosition
    }

    let id: InstanceID
    let name: Name
    /// Oldest first.
    let segments: [Segment]

    private static let blockBytes = 128 << 10
    /// More is not read at once, whatever number of lines is wanted.
    static let maximumBytes = 32 << 20

    /// `<instance>` and the number, nil for the active segment; nil for other files.
    static func parse(_ file: String) -> (id: InstanceID, number: Int?)? {
        let parts = file.split(separator: ".", omittingEmptySubsequences: false)
        guard parts.last == "log", let id = InstanceID(parts[0]) else { return nil }
        if parts.count == 2 { return (id, nil) }
        guard parts.count == 3, let number = Int(parts[1]), number > 0 else { return nil }
        return (id, number)
    }

    /// At most `limit` lines after `position`, and the place after them (the same place if there are none).
    func forward(from position: LogPosition?, limit: Int, now: Timestamp) throws(SystemError) -> (
        items: [Item], end: LogPosition
    ) {
        var lines = LogLineJoiner(name: name, end: position ?? .start)
        var started = false
        var budget = Self.maximumBytes
        let stamps = try segments.map { segment throws(SystemError) in try Self.stamp(segment.path) }
        // A segment that is gone took its lines along: the next one there is is read from its start.
        let wanted = position.flatMap { ContainerLogLine.parseTime(Array($0.segment.utf8)[...]) } ?? Int64.min
        let first =
            stamps.firstIndex { $0 != nil && $0 == position?.segment }
            ?? stamps.firstIndex {
                $0.flatMap { ContainerLogLine.parseTime(Array($0.utf8)[...]) }.map { $0 > wanted } ?? false
            } ?? stamps.count
        var before: Segment?
        for (segment, stamp) in zip(segments, stamps).dropFirst(first) {
            guard let stamp else { continue }
            var offset = !started && stamp == position?.segment ? (position?.offset ?? 0) : 0
            started = true
            // A line may have begun in the file before.
            if let before, !segment.follows(before) { lines.flush() }
            before = segment
            guard lines.items.count < limit, let file = try Self.open(segment.path) else { continue }
            var rest: [UInt8] = []
            while lines.items.count < limit && budget > 0 {
                let block = try Self.pread(file, at: offset + rest.count, Self.blockBytes)
                if block.isEmpty { break }
                budget -= block.count
                rest += block
                var begin = 0
                while lines.items.count < limit, let newline = rest[begin...].firstIndex(of: 10) {
                    offset += newline + 1 - begin
                    lines.add(rest[begin..<newline], position: LogPosition(segment: stamp, offset: offset))
                    begin = newline + 1
                }
                rest.removeFirst(begin)
            }
        }
        if lines.items.count < limit { lines.flushIfOld(now: now) }
        return (lines.items, lines.end)
    }

    /// The last `limit` lines, and the place after them.
    func backward(limit: Int, now: Timestamp) throws(SystemError) -> (items: [Item], end: LogPosition) {
        var items: [Item] = []
        var end: LogPosition?
        /// Read from its first byte on: the line at the head of `items` is its first.
        var whole: Segment?
        for segment in segments.reversed() where items.count < limit || end == nil {
            guard let stamp = try Self.stamp(segment.path), let file = try Self.open(segment.path) else { continue }
            var info = stat()
            guard fstat(file.raw, &info) == 0 else { throw .last("fstat \(segment.path)") }
            let size = Int(info.st_size)
            var wanted = Self.blockBytes
            // Twice as much each time, until there are enough lines in it.
            while true {
                let start = max(0, size - wanted)
                let bytes = try Self.pread(file, at: start, size - start)
                var begin = bytes.startIndex
                if start > 0, let newline = bytes.firstIndex(of: 10) { begin = newline + 1 }
                var lines = LogLineJoiner(name: name, end: LogPosition(segment: stamp, offset: start + begin))
                while let newline = bytes[begin...].firstIndex(of: 10) {
                    lines.add(
                        bytes[begin..<newline], position: LogPosition(segment: stamp, offset: start + newline + 1))
                    begin = newline + 1
                }
                // The end of the youngest segment may go on, that of another one goes on in the next.
                var open: ContainerLogLine?
                if end == nil {
                    lines.flushIfOld(now: now)
                } else {
                    if let whole, whole.follows(segment), let head = items.first {
                        open = lines.takeOpen(isError: head.isError)
                    }
                    lines.flush()
                }
                // The first line may be the rest of one that began before.
                let found = start > 0 ? lines.items.dropFirst() : lines.items[...]
                guard start == 0 || found.count >= limit - items.count || wanted >= Self.maximumBytes else {
                    wanted *= 2
                    continue
                }
                if let open, let rest = items.first {
                    let begin = open.logLine(source: name.source, process: name.name)
                    items[0].nanoseconds = open.nanoseconds
                    items[0].line.time = begin.time
                    items[0].line.text = begin.text + rest.line.text
                }
                if end == nil { end = lines.end }
                whole = start == 0 && found.count <= limit - items.count ? segment : nil
                items = found.suffix(limit - items.count) + items
                break
            }
        }
        return (items, end ?? .start)
    }

    /// The time of the first line as written; nil as long as there is none.
    static func stamp(_ path: String) throws(SystemError) -> String? {
        guard let file = try open(path) else { return nil }
        let head = try pread(file, at: 0, 64)
        guard let space = head.firstIndex(of: 32), ContainerLogLine.parseTime(head[..<space]) != nil else { return nil }
        return String(decoding: head[..<space], as: UTF8.self)
    }

    private static func open(_ path: String) throws(SystemError) -> OwnedFD? {
        do throws(SystemError) {
            return try OwnedFD.open(path, O_RDONLY | O_NOFOLLOW)
        } catch {
            if error.errno == ENOENT { return nil }
            throw error
        }
    }

    private static func pread(_ file: borrowing OwnedFD, at offset: Int, _ count: Int) throws(SystemError) -> [UInt8] {
        let raw = file.raw
        var buffer = [UInt8](repeating: 0, count: count)
        var done = 0
        while done < count {
            let n = try Syscall.check("read log") {
                buffer.withUnsafeMutableBytes {
                    Glibc.pread(raw, $0.baseAddress.map { $0 + done }, count - done, off_t(offset + done))
                }
            }
            if n == 0 { break }
            done += n
        }
        buffer.removeLast(count - done)
        return buffer
    }
}
