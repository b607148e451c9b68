import Domain
import FoundationEssentials
import Glibc
import Synchronization

/// What the platform says about an app (`State changed from starting to up`), kept in one small file per app: the newest
/// 256 to 512 KiB. Writing happens on a thread of its own, so that the scheduler never waits for a disk.
public final class PlatformLines: LogSink {
    private static let keptBytes = 256 << 10
    private static let queueLimit = 10_000

    private struct State {
        var queue: [(AppID, LogLine)] = []
        var dropped: [AppID: Int] = [:]
    }

    private let directory: String
    private let state = Mutex(State())
    private let worker: LineWorker

    /// - Parameter directory: an existing folder of our own.
    public init(directory: String) {
        self.directory = directory
        worker = LineWorker()
    }

    public func append(app: AppID, _ line: LogLine) {
        state.withLock { state in
            if state.queue.count >= Self.queueLimit {
                state.dropped[app, default: 0] += 1
            } else {
                state.queue.append((app, line))
            }
        }
        worker.submit { [weak self] in self?.flush() }
    }

    /// Lines after a place, or the last ones. A place is an offset into all that was ever written about the app.
    public func read(app: AppID, after: LogCursor?, limit: Int) async throws(PaaSError) -> LogPage {
        let path = path(app)
        return await worker.run {
            let (start, bytes) = Self.contents(path)
            let end = start + Int64(bytes.count)
            var from = start
            if let after { from = min(max(Int64(after.value) ?? start, start), end) }
            var lines: [LogLine] = []
            var place = from
            let decoder = JSONDecoder()
            for part in bytes.dropFirst(Int(from - start)).split(separator: 10, omittingEmptySubsequences: false)
                .dropLast()
            {
                if after != nil && lines.count == limit { break }
                place += Int64(part.count) + 1
                if let line = try? decoder.decode(LogLine.self, from: Data(part)) { lines.append(line) }
            }
            if after == nil {
                lines = Array(lines.suffix(limit))
                place = end
            }
            return LogPage(lines: lines, next: LogCursor(String(place)))
        }
    }

    public func remove(app: AppID) async {
        let path = path(app)
        await worker.run {
            unlink(path)
            unlink(path + ".old")
        }
    }

    private func path(_ app: AppID) -> String { "\(directory)/\(app).log" }

    private func flush() {
        let (queue, dropped) = state.withLock { state in
            defer {
                state.queue = []
                state.dropped = [:]
            }
            return (state.queue, state.dropped)
        }
        let encoder = JSONEncoder()
        var byApp: [AppID: [UInt8]] = [:]
        func add(_ app: AppID, _ line: LogLine) {
            guard let bytes = try? encoder.encode(line) else { return }
            byApp[app, default: []] += Array(bytes) + [10]
        }
        for (app, line) in queue { add(app, line) }
        for (app, count) in dropped {
            add(
                app,
                LogLine(
                    time: .now(), source: .platform, process: "log",
                    text: "\(count) lines about this app were dropped: too many at once"))
        }
        for (app, bytes) in byApp { Self.write(path(app), bytes) }
    }

    /// The file begins with a line that holds the offset of its first byte in all that was ever written.
    private static func contents(_ path: String) -> (start: Int64, bytes: [UInt8]) {
        let file = open(path, O_RDONLY | O_CLOEXEC)
        guard file >= 0 else { return (0, []) }
        defer { close(file) }
        var all: [UInt8] = []
        var part = [UInt8](repeating: 0, count: 65_536)
        while all.count < 4 * keptBytes {
            let n = Glibc.read(file, &part, part.count)
            guard n > 0 else { break }
            all += part.prefix(n)
        }
        guard let newline = all.firstIndex(of: 10), let start = Int64(String(decoding: all[..<newline], as: UTF8.self))
        else {
            return (0, [])
        }
        return (start, Array(all[(newline + 1)...]))
    }

    private static func write(_ path: String, _ bytes: [UInt8]) {
        var info = stat()
        let exists = lstat(path, &info) == 0
        if exists && info.st_size > 2 * keptBytes {
            var (start, kept) = contents(path)
            let cut = kept.count - keptBytes
            if cut > 0, let newline = kept[cut...].firstIndex(of: 10) {
                start += Int64(newline + 1)
                kept.removeFirst(newline + 1)
            }
            append(path + ".new", Array("\(start)\n".utf8) + kept + bytes, truncate: true)
            rename(path + ".new", path)
        } else {
            append(path, (exists ? [] : Array("0\n".utf8)) + bytes, truncate: false)
        }
    }

    private static func append(_ path: String, _ bytes: [UInt8], truncate: Bool) {
        let file = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW | (truncate ? O_TRUNC : O_APPEND), 0o600)
        guard file >= 0 else {
            StandardError.write(Data("the log \(path) can't be written: errno \(errno)\n".utf8))
            return
        }
        defer { close(file) }
        var done = 0
        while done < bytes.count {
            let n = bytes.withUnsafeBytes { Glibc.write(file, $0.baseAddress.map { $0 + done }, bytes.count - done) }
            guard n > 0 else { return }
            done += n
        }
    }
}
