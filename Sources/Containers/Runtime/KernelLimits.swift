import CShim
import Domain
import Glibc
import OS

/// Limits of the kernel that are counted for a user, and so for all containers and the host's root together: the user
/// namespaces of all apps belong to root. Each container gets a part of them, and the host enough for many parts.
struct KernelLimits: Sendable, Hashable {
    var inotifyInstances = 256
    var inotifyWatches = 65_536

    /// In the container's user namespace. Namespaces can't be made inside: seccomp says so as well.
    var values: [(path: String, value: String)] {
        var values = [
            ("max_inotify_instances", inotifyInstances), ("max_inotify_watches", inotifyWatches),
            ("max_fanotify_groups", 0), ("max_fanotify_marks", 0),
        ]
        for kind in ["user", "mnt", "net", "pid", "ipc", "uts", "cgroup", "time"] {
            values.append(("max_\(kind)_namespaces", 0))
        }
        return values.map { ("/proc/sys/user/\($0.0)", "\($0.1)") }
    }

    /// For the container of which `pid` is the first process.
    func apply(to pid: pid_t) throws(SystemError) {
        let namespace = try OwnedFD.open("/proc/\(pid)/ns/user", O_RDONLY)
        // A kernel without fanotify has no limit for it.
        let present = values.filter { Files.exists($0.path) }
        let texts = present.map { (strdup($0.path), strdup($0.value)) }
        defer {
            for text in texts {
                free(text.0)
                free(text.1)
            }
        }
        let paths = texts.map { UnsafePointer($0.0) }, contents = texts.map { UnsafePointer($0.1) }
        var failed: Int32 = -1
        let result = slipway_userns_write(namespace.raw, paths, contents, Int32(present.count), &failed)
        let name = present.indices.contains(Int(failed)) ? present[Int(failed)].path : "the user namespace of \(pid)"
        try Syscall.shim("set \(name)", result)
    }

    /// What the host must allow to all containers together, at least.
    private static let host = [
        ("fs/inotify/max_user_instances", 16_384), ("fs/inotify/max_user_watches", 1_048_576),
        // A container that calls on many addresses fills the tables of neighbours, which the whole host shares.
        ("net/ipv4/neigh/default/gc_thresh3", 65_536), ("net/ipv6/neigh/default/gc_thresh3", 65_536),
    ]

    /// Raises what is lower. They are left so at teardown, as nobody knows who relies on them by then.
    /// - Returns: what was changed, as `name=value`, for the log.
    static func raiseHost() throws(SystemError) -> [String] {
        var changed: [String] = []
        for (name, least) in host {
            let path = "/proc/sys/\(name)"
            guard let now = try Files.readText(path).flatMap({ Int($0) }), now < least else { continue }
            try Files.writeExisting(path, "\(least)")
            changed.append("\(name)=\(least)")
        }
        return changed
    }
}
