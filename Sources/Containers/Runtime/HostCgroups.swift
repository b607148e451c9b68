import CShim
import Domain
import Glibc
import OS

/// The host's cgroups, as far as containers need them: v2, or v1 hierarchies (also with an empty v2 beside them).
///
/// `<parent>/<id>` holds the container, `<parent>/<id>.conmon` its monitor and, while it is made, the OCI runtime: whatever
/// was started for a container is in one of the two, so that nothing of it can be missed. `<parent>/work.…` hold programs
/// that the engine runs for builds, slugs and stacks (`HostWork`).
public struct HostCgroups: Sendable {
    public enum Version: String, Sendable, Codable { case v1, v2 }

    /// What the processes of a group may use together.
    struct Limits: Sendable, Hashable {
        var memoryBytes: Int64
        /// Thousandths of a processor.
        var cpuMillis: Int
        var pids: Int?
    }

    /// A monitor copies what its container prints, so a container decides how much it has to do. These keep that near the
    /// container's own limits.
    static let monitorLimits = Limits(memoryBytes: 64 << 20, cpuMillis: 200)

    public let version: Version
    /// Mount points of the hierarchies to which processes are added.
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
            hierarchies = ["pids", "memory", "cpu", "systemd", "unified"].map { "\(root)/\($0)" }
                .filter { Files.exists($0 + "/cgroup.procs") }
        }
    }

    /// Whether limiting swap is possible (v1 needs it switched on).
    var limitsSwap: Bool { version == .v2 || Files.exists(root + "/memory/memory.memsw.limit_in_bytes") }

    /// For the OCI spec.
    func containerPath(_ id: InstanceID) -> String { "/\(parent)/\(id)" }

    private func monitor(_ id: InstanceID) -> String { "\(id).conmon" }
    private func names(_ id: InstanceID) -> [String] { ["\(id)", monitor(id)] }

    // MARK: - Making

    /// Makes the monitor's cgroups; the files into which its pid is to be written.
    func makeMonitor(_ id: InstanceID) throws(SystemError) -> [String] { try make(monitor(id)) }

    /// Once the container is made: the OCI runtime, which is done now, needed more than the monitor does.
    func limitMonitor(_ id: InstanceID) throws(SystemError) { try limit(monitor(id), Self.monitorLimits) }

    /// Lets the container's processes read the limits that they have, as Java does to size its memory: the OCI runtime makes the
    /// groups under the monitor's umask, which shuts everybody out.
    func openToReaders(_ id: InstanceID) throws(SystemError) {
        for hierarchy in try allHierarchies() {
            let folder = "\(hierarchy)/\(parent)/\(id)"
            if Files.exists(folder) { try Files.setMode(folder, 0o755) }
        }
    }

    /// Makes a group; the files into which a pid is to be written to enter it.
    func make(_ name: String) throws(SystemError) -> [String] {
        var files: [String] = []
        for hierarchy in hierarchies {
            let path = "\(hierarchy)/\(parent)/\(name)"
            try Files.makeDirectories(path)
            files.append(path + "/cgroup.procs")
        }
        if version == .v2 { for folder in [root, "\(root)/\(parent)"] { try enableControllers(folder) } }
        return files
    }

    /// v2: a group has the controllers that the one above hands down.
    private func enableControllers(_ folder: String) throws(SystemError) {
        let file = folder + "/cgroup.subtree_control"
        let enabled = Set((try Files.readText(file) ?? "").split(separator: " "))
        let missing = ["cpu", "memory", "pids"].filter { !enabled.contains($0[...]) }
        if !missing.isEmpty { try Files.writeExisting(file, missing.map { "+\($0)" }.joined(separator: " ")) }
    }

    func limit(_ name: String, _ limits: Limits) throws(SystemError) {
        let period = OCISpec.cpuPeriodMicroseconds
        let quota = max(1000, limits.cpuMillis * period / 1000)
        switch version {
        case .v2:
            let folder = "\(root)/\(parent)/\(name)"
            try Files.writeExisting(folder + "/memory.max", "\(limits.memoryBytes)")
            // A kernel without swap has no such file.
            if Files.exists(folder + "/memory.swap.max") { try Files.writeExisting(folder + "/memory.swap.max", "0") }
            try Files.writeExisting(folder + "/cpu.max", "\(quota) \(period)")
            if let pids = limits.pids { try Files.writeExisting(folder + "/pids.max", "\(pids)") }
        case .v1:
            let memory = "\(root)/memory/\(parent)/\(name)"
            try Files.writeExisting(memory + "/memory.limit_in_bytes", "\(limits.memoryBytes)")
            if limitsSwap {
                try Files.writeExisting(memory + "/memory.memsw.limit_in_bytes", "\(limits.memoryBytes)")
            }
            let cpu = "\(root)/cpu/\(parent)/\(name)"
            try Files.writeExisting(cpu + "/cpu.cfs_period_us", "\(period)")
            try Files.writeExisting(cpu + "/cpu.cfs_quota_us", "\(quota)")
            if let pids = limits.pids {
                try Files.writeExisting("\(root)/pids/\(parent)/\(name)/pids.max", "\(pids)")
            }
        }
    }

    // MARK: - Looking

    /// Processes that live in a group, in any hierarchy.
    func members(_ name: String) throws(SystemError) -> Set<pid_t> {
        var pids: Set<pid_t> = []
        for hierarchy in hierarchies { pids.formUnion(try Self.pids(in: "\(hierarchy)/\(parent)/\(name)")) }
        return pids
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

    /// Ids of which there is a cgroup.
    func known() throws(SystemError) -> Set<InstanceID> {
        Set(try groups().compactMap { InstanceID($0.split(separator: ".").first ?? "") })
    }

    /// Names of the groups below the parent, in any hierarchy.
    func groups() throws(SystemError) -> Set<String> {
        var names: Set<String> = []
        for hierarchy in try allHierarchies() {
            let folder = "\(hierarchy)/\(parent)"
            names.formUnion(try Files.list(folder).filter { Self.isDirectory("\(folder)/\($0)") })
        }
        return names
    }

    /// Parents of trial starts, which an engine that was killed may have left.
    func trials() throws(SystemError) -> [HostCgroups] {
        var names: Set<String> = []
        for hierarchy in try allHierarchies() {
            names.formUnion(try Files.list(hierarchy).filter { $0.hasPrefix("\(parent)-trial-") })
        }
        return names.map { HostCgroups(parent: $0, root: root) }
    }

    /// For the trial start of one container: nobody else makes or removes anything in it.
    func trial(_ id: InstanceID) -> HostCgroups { HostCgroups(parent: "\(parent)-trial-\(id)", root: root) }

    /// Whether the kernel killed a process of it for want of memory.
    func outOfMemory(_ id: InstanceID) throws(SystemError) -> Bool { try outOfMemory("\(id)") }

    func outOfMemory(_ name: String) throws(SystemError) -> Bool {
        let path =
            version == .v2
            ? "\(root)/\(parent)/\(name)/memory.events" : "\(root)/memory/\(parent)/\(name)/memory.oom_control"
        guard let text = try Files.readText(path) else { return false }
        for line in text.split(separator: "\n") {
            let words = line.split(separator: " ")
            if words.count == 2, words[0] == "oom_kill", let count = Int(words[1]) { return count > 0 }
        }
        return false
    }

    // MARK: - Ending

    /// Kills all that lives in the container's cgroups and waits until they are empty, at most `seconds`.
    func killAll(_ id: InstanceID, seconds: Double = 20) throws(PaaSError) {
        try killAll(names(id), seconds: seconds)
    }

    func killAll(_ names: [String], seconds: Double = 20) throws(PaaSError) {
        let end = Monotonic.now() + seconds
        do throws(SystemError) {
            while true {
                var empty = true
                for name in names where try !members(name).isEmpty {
                    empty = false
                    try killMembers(name)
                }
                if empty { return }
                if Monotonic.now() > end { break }
                usleep(5000)
            }
        } catch {
            throw error.asPaaSError("the cgroup of \(names.joined(separator: ", ")) can't be read")
        }
        throw PaaSError(
            .timeout,
            "processes of \(names.joined(separator: ", ")) do not end; look at them with ps (state D means a stuck device)"
        )
    }

    func killMembers(_ name: String) throws(SystemError) {
        if version == .v2 {
            do throws(SystemError) {
                return try Files.writeExisting("\(root)/\(parent)/\(name)/cgroup.kill", "1")
            } catch {
                // Whose group is gone has no members.
                if error.errno == ENOENT || error.errno == ENODEV { return }
                throw error
            }
        }
        // A number may belong to another process by the time it is used. What is still a member once it is held is ours.
        var held: [(pid: pid_t, pidfd: Int32)] = []
        defer { for one in held { close(one.pidfd) } }
        for pid in try members(name).prefix(1024) {
            let pidfd = slipway_pidfd_open(pid)
            if pidfd == -ESRCH { continue }
            held.append((pid, try Syscall.shim("pidfd_open", pidfd)))
        }
        let still = try members(name)
        for one in held where still.contains(one.pid) {
            let result = slipway_pidfd_send_signal(one.pidfd, SIGKILL)
            if result != -ESRCH { try Syscall.shim("pidfd_send_signal", result) }
        }
    }

    /// Removes the container's cgroups, which are empty.
    func remove(_ id: InstanceID) throws(SystemError) { for name in names(id) { try remove(name) } }

    func remove(_ name: String) throws(SystemError) {
        for hierarchy in try allHierarchies() { try Self.removeTree("\(hierarchy)/\(parent)/\(name)") }
    }

    /// Removes the parent too; everything below must be empty.
    func removeParent() throws(SystemError) {
        for hierarchy in try allHierarchies() { try Self.removeTree("\(hierarchy)/\(parent)") }
    }

    /// Kills whatever is in a group of ours and removes them all.
    func removeAll() throws {
        try killAll(Array(try groups()))
        try removeParent()
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
