import Domain
import FoundationEssentials
import Glibc
import Logging
import OS

/// The logs of processes and builds: written by conmon, kept here within a budget for each app, across restarts and
/// reboots. Blocking.
public final class LogStore: Sendable {
    static let maximumLines = 10_000
    /// Runs of which something is kept, for each app.
    static let maximumRuns = 200
    /// What the platform itself says about an app's logs is the log of this run.
    static let noticesID = InstanceID(UUID(uuid: (0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)))

    let root: String
    let budgetBytes: Int64
    let logger: Logger
    /// Renaming and reading of one app's files exclude each other, else a reader would miss what was just renamed.
    let locks = KeyedLock<AppID>()
    let keeping = Monitor(Keeping())

    /// - Parameter budgetBytes: for each app.
    public init(root: String, budgetBytes: Int64, logger: Logger) {
        self.root = root
        self.budgetBytes = budgetBytes
        self.logger = logger
    }

    /// conmon begins a new file at this size. What is being written can't be removed, and so all of it together has to fit
    /// into the budget: the more containers of an app there are, the smaller the share of the next one.
    func segmentBytes(siblings: Int) -> Int64 {
        min(max(budgetBytes / 8 / Int64(siblings + 1), Self.leastSegmentBytes), 4 << 20)
    }

    /// Less would be full before it gets its second name (`LogStore+Budget`).
    private static let leastSegmentBytes: Int64 = 16 << 10

    func folder(_ app: AppID) -> String { "\(root)/\(app)" }
    func activePath(_ app: AppID, _ id: InstanceID) -> String { "\(folder(app))/\(id).log" }
    func namePath(_ app: AppID, _ id: InstanceID) -> String { "\(folder(app))/\(id).json" }

    /// Before a container is made: where conmon is to write.
    /// - Parameter siblings: how many other containers of the app run.
    func prepare(app: AppID, instance: InstanceID, name: String, source: LogLine.Source, siblings: Int = 0)
        throws(PaaSError) -> (path: String, segmentBytes: Int64)
    {
        do {
            try Files.makeDirectories(folder(app), mode: 0o700)
            let entry = LogRun.Name(name: name, source: source)
            try Files.writeDurably(namePath(app, instance), Array(try JSONEncoder().encode(entry)))
        } catch {
            throw PaaSError(.internal, "the log of \(name) can't be opened", cause: error)
        }
        return (activePath(app, instance), segmentBytes(siblings: siblings))
    }

    public func logs(app: AppID, instance: InstanceID?, after: LogCursor?, limit: Int) throws(PaaSError) -> LogPage {
        let limit = min(max(limit, 1), Self.maximumLines)
        let positions = try after.map { cursor throws(PaaSError) in try LogCursorText.read(cursor) }
        return try locks.withLock(app) { () throws(PaaSError) -> LogPage in
            do throws(SystemError) {
                var runs = try self.runs(app)
                if let instance { runs = runs.filter { $0.id == instance } }
                if let positions { return try next(runs, positions, limit) }
                return try last(runs, limit)
            } catch {
                throw error.asPaaSError("the logs can't be read")
            }
        }
    }

    public func removeLogs(app: AppID) throws(PaaSError) {
        try locks.withLock(app) { () throws(PaaSError) in
            do throws(SystemError) {
                try Files.removeTree(folder(app))
            } catch {
                throw error.asPaaSError("the logs can't be removed")
            }
        }
    }

    private func last(_ runs: [LogRun], _ limit: Int) throws(SystemError) -> LogPage {
        var positions: [InstanceID: LogPosition] = [:]
        var parts: [[LogRun.Item]] = []
        for run in runs {
            let (items, end) = try run.backward(limit: limit, now: .now())
            positions[run.id] = end
            parts.append(items)
        }
        let merged = Self.merge(parts, limit: Int.max)
        return LogPage(lines: merged.suffix(limit).map(\.item.line), next: LogCursorText.write(positions))
    }

    private func next(_ runs: [LogRun], _ before: [InstanceID: LogPosition], _ limit: Int) throws(SystemError)
        -> LogPage
    {
        // Only of runs that still have something: a cursor does not grow for ever.
        var positions: [InstanceID: LogPosition] = [:]
        var parts: [[LogRun.Item]] = []
        var ends: [LogPosition] = []
        for run in runs {
            positions[run.id] = before[run.id] ?? .start
            let (items, end) = try run.forward(from: before[run.id], limit: limit, now: .now())
            parts.append(items)
            ends.append(end)
        }
        let merged = Self.merge(parts, limit: limit)
        var taken = parts.map { _ in 0 }
        for entry in merged {
            taken[entry.part] += 1
            positions[runs[entry.part].id] = entry.item.position
        }
        // Lines that can't be read are passed over as well.
        for (index, part) in parts.enumerated() where taken[index] == part.count {
            positions[runs[index].id] = ends[index]
        }
        return LogPage(lines: merged.map(\.item.line), next: LogCursorText.write(positions))
    }

    /// By time; the lines of one run keep their order even if the clock was set back.
    private static func merge(_ parts: [[LogRun.Item]], limit: Int) -> [(item: LogRun.Item, part: Int)] {
        var heads = parts.map { _ in 0 }
        var out: [(item: LogRun.Item, part: Int)] = []
        if parts.count == 1 { return parts[0].prefix(limit).map { ($0, 0) } }
        while out.count < limit {
            var best: Int?
            for (index, part) in parts.enumerated() where heads[index] < part.count {
                if let known = best, parts[known][heads[known]].nanoseconds <= part[heads[index]].nanoseconds {
                    continue
                }
                best = index
            }
            guard let best else { break }
            out.append((parts[best][heads[best]], best))
            heads[best] += 1
        }
        return out
    }

    /// The runs of which something is kept, by id.
    func runs(_ app: AppID) throws(SystemError) -> [LogRun] {
        var segments: [InstanceID: [LogRun.Segment]] = [:]
        for file in try Files.list(folder(app)) {
            guard let (id, number) = LogRun.parse(file) else { continue }
            segments[id, default: []].append(.init(path: "\(folder(app))/\(file)", number: number))
        }
        var runs: [LogRun] = []
        for (id, list) in segments {
            let name =
                try Files.read(namePath(app, id), limit: 4096)
                .flatMap { try? JSONDecoder().decode(LogRun.Name.self, from: Data($0)) }
            var sorted = list.sorted { $0.number ?? Int.max < $1.number ?? Int.max }
            // What is written has a second, numbered name soon.
            if sorted.count > 1, sorted[sorted.count - 1].number == nil,
                Self.isSameFile(sorted[sorted.count - 1].path, sorted[sorted.count - 2].path)
            {
                sorted.removeLast()
            }
            runs.append(LogRun(id: id, name: name ?? .init(name: "unknown", source: .app), segments: sorted))
        }
        return runs.sorted { $0.id < $1.id }
    }

    private static func isSameFile(_ a: String, _ b: String) -> Bool {
        var first = stat(), second = stat()
        return lstat(a, &first) == 0 && lstat(b, &second) == 0 && first.st_ino == second.st_ino
    }
}
