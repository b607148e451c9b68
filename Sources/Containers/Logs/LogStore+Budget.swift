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
    }

    struct Keeping: Sendable {
        /// First line of the segment that each container writes and that has its second name.
        var stamps: [InstanceID: String] = [:]
        var lastSweep = -1e9
    }

    private static let sweepSeconds = 5.0
    private struct OldFile {
        var path: String
        var id: InstanceID
        var bytes: Int64
        var modified: Int64
    }

    /// Keeps full segments and removes the oldest beyond the budget. To be called often.
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

    /// conmon puts a new file in the place of one that is full. A second name, given in time, keeps what it replaces.
    private func watch(_ container: Running) throws {
        let path = activePath(container.app, container.instance)
        guard let stamp = try LogRun.stamp(path), keeping.withLock({ $0.stamps[container.instance] }) != stamp else {
            return
        }
        let folder = folder(container.app)
        var highest = 0
        var named = false
        for file in try Files.list(folder) {
            guard let (id, number) = LogRun.parse(file), id == container.instance, let number else { continue }
            highest = max(highest, number)
            if try LogRun.stamp("\(folder)/\(file)") == stamp { named = true }
        }
        if !named {
            try Syscall.check("link \(path)") { link(path, "\(folder)/\(container.instance).\(highest + 1).log") }
        }
        keeping.withLock { $0.stamps[container.instance] = stamp }
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
            // The segment that was written last has two names.
            let bytes = Int64(info.st_size) / Int64(max(1, info.st_nlink))
            total += bytes
            if active.contains(id) && (number == nil || info.st_nlink > 1) { continue }
            if id == Self.noticesID && info.st_size <= 64 << 10 { continue }
            let modified = Int64(info.st_mtim.tv_sec) * 1_000_000_000 + Int64(info.st_mtim.tv_nsec)
            files.append(OldFile(path: path, id: id, bytes: bytes, modified: modified))
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
