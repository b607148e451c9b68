import Domain
import Glibc
import OS

/// The host's cgroups, as far as containers need them: v2, or v1 hierarchies (also with an empty v2 beside them).
///
/// `<parent>/<id>` holds the container, `<parent>/<id>.conmon` its monitor and, while it is made, the OCI runtime: whatever
/// was started for a container is in one of the two, so that nothing of it can be missed.
public struct HostCgroups: Sendable {
    public enum Version: String, Sendable, Codable { case v1, v2 }

    public let version: Version
    /// Mount points of the hierarchies to which processes are added; the first one is asked for members.
    let hierarchies: [String]
    public let parent: String
    private let root: String

    public init(parent: String, root: String = "/sys/fs/cgroup") {
        self.parent = parent
        self.root = root
        if Files.exists(root + "/cgroup.controllers") {
            version = .v2
            hierarchies = [root]
        } else {
            version = .v1
            hierarchies = ["pids", "memory", "systemd", "unified"].map { "\(root)/\($0)" }
                .filter { Files.exists($0 + "/cgroup.procs") }
        }
    }

    /// Whether limiting swap is possible (v1 needs it switched on).
    var limitsSwap: Bool { version == .v2 || Files.exists(root + "/memory/memory.memsw.limit_in_bytes") }

    /// For the OCI spec.
    func containerPath(_ id: InstanceID) -> String { "/\(parent)/\(id)" }

    private func names(_ id: InstanceID) -> [String] { ["\(id)", "\(id).conmon"] }

    /// Makes the monitor's cgroups; the files into which its pid is to be written.
    func makeMonitor(_ id: InstanceID) throws(SystemError) -> [String] {
        var files: [String] = []
        for hierarchy in hierarchies {
            let path = "\(hierarchy)/\(parent)/\(id).conmon"
            try Files.makeDirectories(path)
            files.append(path + "/cgroup.procs")
        }
        return files
    }

    /// Processes that live in the container's cgroup (`all`: also monitor and runtime), in the first hierarchy.
    func members(_ id: InstanceID, all: Bool) throws(SystemError) -> [pid_t] {
        var pids: [pid_t] = []
        for name in all ? names(id) : ["\(id)"] {
            for hierarchy in hierarchies { pids += try Self.pids(in: "\(hierarchy)/\(parent)/\(name)") }
        }
        return Array(Set(pids))
    }

    private static func pids(in folder: String) throws(SystemError) -> [pid_t] {
        var pids: [pid_t] = []
        do throws(SystemError) {
            guard let text = try Files.readText(folder + "/cgroup.procs", limit: 4 << 20) else { return [] }
            pids = text.split(separator: "\n").compactMap { pid_t($0) }.filter { $0 > 0 }
        } catch {
            if error.errno != ENODEV && error.errno != EOPNOTSUPP { throw error }
        }
        // A runtime may have made cgroups below.
        for child in try Files.list(folder) where !child.contains(".") {
            if isDirectory(folder + "/" + child) { pids += try Self.pids(in: folder + "/" + child) }
        }
        return pids
    }

    /// Kills all that lives in the container's cgroups and waits until they are empty, at most `seconds`.
    func killAll(_ id: InstanceID, seconds: Double = 20) throws(PaaSError) {
        let end = Monotonic.now() + seconds
        do throws(SystemError) {
            while true {
                let pids = try members(id, all: true)
                if pids.isEmpty { return }
                for pid in pids { kill(pid, SIGKILL) }
                if Monotonic.now() > end { break }
                usleep(5000)
            }
        } catch {
            throw error.asPaaSError("the cgroup of \(id) can't be read")
        }
        throw PaaSError(.timeout, "processes of \(id) do not end; look at them with ps (state D means a stuck device)")
    }

    /// Removes the container's cgroups, which are empty.
    func remove(_ id: InstanceID) throws(SystemError) {
        for hierarchy in try allHierarchies() {
            for name in names(id) { try Self.removeTree("\(hierarchy)/\(parent)/\(name)") }
        }
    }

    /// Removes the parent too; everything below must be empty.
    func removeParent() throws(SystemError) {
        for hierarchy in try allHierarchies() { try Self.removeTree("\(hierarchy)/\(parent)") }
    }

    var parentExists: Bool { hierarchies.contains { Files.exists("\($0)/\(parent)") } }

    /// Ids of which there is a cgroup.
    func known() throws(SystemError) -> Set<InstanceID> {
        var ids: Set<InstanceID> = []
        for hierarchy in try allHierarchies() {
            for name in try Files.list("\(hierarchy)/\(parent)") {
                if let id = InstanceID(name.split(separator: ".").first ?? "") { ids.insert(id) }
            }
        }
        return ids
    }

    /// Whether the kernel killed a process of it for want of memory.
    func outOfMemory(_ id: InstanceID) throws(SystemError) -> Bool {
        let path =
            version == .v2
            ? "\(root)/\(parent)/\(id)/memory.events" : "\(root)/memory/\(parent)/\(id)/memory.oom_control"
        guard let text = try Files.readText(path) else { return false }
        for line in text.split(separator: "\n") {
            let words = line.split(separator: " ")
            if words.count == 2, words[0] == "oom_kill", let count = Int(words[1]) { return count > 0 }
        }
        return false
    }

    private func allHierarchies() throws(SystemError) -> [String] {
        version == .v2 ? [root] : try Files.list(root).map { "\(root)/\($0)" }.filter { Self.isDirectory($0) }
    }

    private static func isDirectory(_ path: String) -> Bool {
        var info = stat()
        return lstat(path, &info) == 0 && info.st_mode & S_IFMT == S_IFDIR
    }

    private static func removeTree(_ path: String) throws(SystemError) {
        guard isDirectory(path) else { return }
        for child in try Files.list(path) where isDirectory(path + "/" + child) { try removeTree(path + "/" + child) }
        let end = Monotonic.now() + 5
        while rmdir(path) != 0 {
            if errno == ENOENT { return }
            // The kernel may still be letting the last process go.
            guard errno == EBUSY, Monotonic.now() < end else { throw .last("rmdir \(path)") }
            usleep(2000)
        }
    }
}
