import Domain
import FoundationEssentials
import Glibc
import Logging
import OS

extension LogStore {
    /// A container that writes now.
    struct Running: Sendable {
        var app: AppID
        var instance: InstanceID
        /// conmon's control pipe.
        var control: String
    }

    struct Keeping: Sendable {
        /// First line of the segment that each container writes: if it changes without our doing, conmon started anew.
        var stamps: [InstanceID: String] = [:]
        var lastSweep = -1e9
    }

    private static let sweepSeconds = 5.0
    /// conmon's message "open the log again".
    private static let reopen = "2 0 0\n"

    private struct OldFile {
        var path: String
        var id: InstanceID
        var bytes: Int64
        var modified: Int64
    }

    /// Puts full segments aside and removes the oldest beyond the budget. To be called often.
    func keepWithinBudget(running: [Running]) {
        let now = Monotonic.now()
        for container in running { attempt { try locks.withLock(container.app) { try watch(container) } } }
        let due = keeping.withLock { state in
            let alive = Set(running.map(\.instance))
            state.stamps = state.stamps.filter { alive.contains($0.key) }
            guard now - state.lastSweep > Self.sweepSeconds else { return false }
            state.lastSweep = now
            return true
        }
        guard due else { return }
        let active = Set(running.map(\.instance))
        attempt {
            for name in try Files.list(root) {
                guard let app = AppID(name) else { continue }
                try locks.withLock(app) { try sweep(app, active: active) }
            }
        }
    }

    private func attempt(_ body: () throws -> Void) {
        do {
            try body()
        } catch {
            logger.error("logs could not be kept within their budget", metadata: ["error": "\(ErrorChain(error))"])
        }
    }

    private func watch(_ container: Running) throws {
        let path = activePath(container.app, container.instance)
        var info = stat()
        if lstat(path, &info) != 0 {
            // Put aside by an engine that died before it told conmon.
            if errno == ENOENT { try tellToReopen(container.control) }
            return
        }
        let stamp = try LogRun.stamp(path)
        let before = keeping.withLock { state in
            defer { state.stamps[container.instance] = stamp }
            return state.stamps[container.instance]
        }
        if let before, let stamp, before != stamp {
            try notice(
                container.app,
                "\(try runName(container)) writes faster than its log is kept: lines before \(stamp) were dropped")
        }
        if Int64(info.st_size) > segmentBytes { try putAside(container) }
    }

    private func runName(_ container: Running) throws -> String {
        try Files.read(namePath(container.app, container.instance), limit: 4096)
            .flatMap { try? JSONDecoder().decode(LogRun.Name.self, from: Data($0)) }?.name ?? "a process"
    }

    private func putAside(_ container: Running) throws {
        let highest =
            try Files.list(folder(container.app)).compactMap { LogRun.parse($0) }
            .filter { $0.id == container.instance }.compactMap(\.number).max() ?? 0
        keeping.withLock { $0.stamps[container.instance] = nil }
        try Files.rename(
            activePath(container.app, container.instance),
            "\(folder(container.app))/\(container.instance).\(highest + 1).log")
        try tellToReopen(container.control)
    }

    private func tellToReopen(_ control: String) throws(SystemError) {
        let pipe: OwnedFD
        do throws(SystemError) {
            pipe = try OwnedFD.open(control, O_WRONLY | O_NONBLOCK | O_NOFOLLOW)
        } catch {
            // No reader: conmon has just ended, and with it the writing.
            if error.errno == ENXIO || error.errno == ENOENT { return }
            throw error
        }
        try pipe.writeAll(Self.reopen.utf8)
    }

    /// A line that readers of the app's log see.
    func notice(_ app: AppID, _ text: String) throws {
        let name = namePath(app, Self.noticesID)
        if !Files.exists(name) {
            try Files.writeDurably(name, Array(try JSONEncoder().encode(LogRun.Name(name: "logs", source: .platform))))
        }
        let file = try OwnedFD.open(activePath(app, Self.noticesID), O_WRONLY | O_CREAT | O_APPEND | O_NOFOLLOW)
        try file.writeAll(ContainerLogLine.format(Timestamp.now(), text))
    }

    /// Removes the oldest files that nobody writes until the app is within its budget, and says so.
    private func sweep(_ app: AppID, active: Set<InstanceID>) throws {
        var files: [OldFile] = []
        var total: Int64 = 0
        for name in try Files.list(folder(app)) {
            var info = stat()
            let path = "\(folder(app))/\(name)"
            guard let (id, number) = LogRun.parse(name), lstat(path, &info) == 0 else { continue }
            total += Int64(info.st_size)
            if number == nil && active.contains(id) { continue }
            if id == Self.noticesID && info.st_size <= 64 << 10 { continue }
            let modified = Int64(info.st_mtim.tv_sec) * 1_000_000_000 + Int64(info.st_mtim.tv_nsec)
            files.append(OldFile(path: path, id: id, bytes: Int64(info.st_size), modified: modified))
        }
        files.sort { $0.modified < $1.modified }
        var runs = Set(files.map(\.id)).count
        var dropped: Int64 = 0
        for (index, file) in files.enumerated() {
            guard total > budgetBytes || runs > Self.maximumRuns else { break }
            try Files.remove(file.path)
            total -= file.bytes
            dropped += file.bytes
            if !files[(index + 1)...].contains(where: { $0.id == file.id }) {
                runs -= 1
                if !active.contains(file.id) { try Files.remove(namePath(app, file.id)) }
            }
        }
        if dropped > 0 {
            try notice(
                app, "\(dropped) bytes of older lines were removed to stay within \(budgetBytes) bytes for each app")
        }
    }
}
