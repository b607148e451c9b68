import CShim
import Glibc

/// All processes below this one, also those that left their session or whose parents have ended.
public enum Descendants {
    /// From now on no process below this one can get out of its sight: orphans become its children.
    public static func adoptOrphans() throws(SystemError) {
        try Syscall.shim("prctl PR_SET_CHILD_SUBREAPER", slipway_adopt_orphans())
    }

    /// Ends all of them and waits for their ends. To be called after `adoptOrphans`, while no other thread has a child that it
    /// wants to wait for.
    /// - Returns: how many still ran, and whether all are gone: a process in an uninterruptible system call may outlive
    ///   `timeoutSeconds`.
    public static func killAll(timeoutSeconds: Double = 10) -> (killed: Int, allGone: Bool) {
        var killed: Set<pid_t> = []
        let deadline = Monotonic.now() + timeoutSeconds
        while true {
            // All at once and before any is ended, so that none of them can start another in the place of one that goes.
            let running = list().filter { !$0.isZombie }.map(\.pid)
            for pid in running { kill(pid, SIGSTOP) }
            for pid in running {
                kill(pid, SIGKILL)
                killed.insert(pid)
            }
            if reap() { return (killed.count, true) }
            if Monotonic.now() > deadline { return (killed.count, false) }
            usleep(2000)
        }
    }

    /// Takes the status of each child that has ended. True if no child is left, and so no descendant.
    private static func reap() -> Bool {
        while true {
            let pid = waitpid(-1, nil, WNOHANG)
            if pid > 0 || (pid < 0 && errno == EINTR) { continue }
            return pid < 0 && errno == ECHILD
        }
    }

    /// As they are at this moment, in no order.
    private static func list() -> [(pid: pid_t, isZombie: Bool)] {
        guard let folder = opendir("/proc") else { return [] }
        defer { closedir(folder) }
        var parents: [pid_t: (parent: pid_t, isZombie: Bool)] = [:]
        while let entry = readdir(folder) {
            let name = withUnsafePointer(to: &entry.pointee.d_name) {
                $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            guard let pid = pid_t(name), let stat = try? Files.readText("/proc/\(pid)/stat"),
                // The second field is the command in parentheses and may hold anything, also spaces and parentheses.
                let close = stat.lastIndex(of: ")")
            else { continue }
            let fields = stat[stat.index(after: close)...].split(separator: " ")
            guard fields.count > 1, let parent = pid_t(fields[1]) else { continue }
            parents[pid] = (parent, fields[0] == "Z" || fields[0] == "X")
        }
        let own = getpid()
        return parents.keys.compactMap { pid in
            var next = pid
            // A chain is shorter than the list; a pid that was used again meanwhile can't make it endless.
            for _ in 0..<parents.count {
                guard let entry = parents[next] else { return nil }
                if entry.parent == own { return (pid, parents[pid]?.isZombie ?? true) }
                next = entry.parent
            }
            return nil
        }
    }
}
