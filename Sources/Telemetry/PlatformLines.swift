import Domain
import FoundationEssentials
import Synchronization

/// What the platform says about an app (`State changed from starting to up`), kept in one small file per app: the newest
/// 256 to 512 KiB. Writing happens on a thread of its own, so that the scheduler never waits for a disk.
public final class PlatformLines: LogSink, LogLines {
    private static let queueLimit = 10_000

    private struct State {
        var queue: [(AppID, LogLine)] = []
        var dropped: [AppID: Int] = [:]
    }

    private let directory: String
    private let write: LineFile.Write?
    private let state = Mutex(State())
    private let worker = LineWorker()

    /// - Parameter directory: an existing folder of our own.
    public convenience init(directory: String) { self.init(directory: directory, write: nil) }

    /// - Parameter write: in place of `write(2)`.
    init(directory: String, write: LineFile.Write?) {
        self.directory = directory
        self.write = write
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

    /// A place is an offset into all that was ever written about the app.
    public func lines(_ app: AppID, _ query: LogQuery, after: LogCursor?, limit: Int) async throws(PaaSError)
        -> LogPage
    {
        let file = file(app)
        let page = await worker.run { () -> Result<LogPage, LineFile.Failure> in
            let decoder = JSONDecoder()
            var lines: [LogLine] = []
            do throws(LineFile.Failure) {
                let next = try file.read(from: after.flatMap { Int64($0.value) }) { bytes in
                    if after != nil && lines.count == limit { return false }
                    // What is no line of ours was damaged, and is passed over.
                    if let line = try? decoder.decode(LogLine.self, from: Data(bytes)), query.matches(line) {
                        lines.append(line)
                    }
                    return true
                }
                return .success(LogPage(lines: lines.suffix(limit), next: LogCursor(String(next))))
            } catch {
                return .failure(error)
            }
        }
        switch page {
        case .success(let page): return page
        case .failure(let error):
            throw PaaSError(.internal, "the platform's lines about the app can't be read", cause: error)
        }
    }

    public func remove(app: AppID) async {
        let file = file(app)
        state.withLock { $0.dropped[app] = nil }
        await worker.run { file.remove() }
    }

    private func file(_ app: AppID) -> LineFile {
        let path = "\(directory)/\(app).log"
        return write.map { LineFile(path: path, write: $0) } ?? LineFile(path: path)
    }

    private func flush() {
        let (queue, dropped) = state.withLock { state in
            defer {
                state.queue = []
                state.dropped = [:]
            }
            return (state.queue, state.dropped)
        }
        var byApp = Dictionary(grouping: queue, by: \.0).mapValues { $0.map(\.1) }
        for (app, count) in dropped {
            byApp[app, default: []].append(
                LogLine(
                    time: .now(), source: .platform, process: "log",
                    text: "\(count) lines about this app were dropped: too many at once, or the disk was full"))
        }
        let encoder = JSONEncoder()
        for (app, lines) in byApp {
            let file = file(app)
            do {
                var bytes: [UInt8] = []
                for line in lines {
                    bytes += try encoder.encode(line)
                    bytes.append(10)
                }
                try file.append(bytes)
            } catch {
                StandardError.write(
                    Data("the log \(file.path) can't be written: \(error); is the disk full?\n".utf8))
                let lost = queue.count { $0.0 == app } + (dropped[app] ?? 0)
                state.withLock { $0.dropped[app, default: 0] += lost }
            }
        }
    }
}
