import CShim
import Domain
import Glibc
import OS

/// Network namespaces kept alive by a mount at a file.
enum NetworkNamespace {
    /// Makes one at a file that must not exist yet.
    static func create(at path: String) throws(PaaSError) {
        try NetworkTool.system("a network namespace could not be made") { () throws(SystemError) in
            let file = try OwnedFD.open(path, O_RDONLY | O_CREAT | O_EXCL, mode: 0o600)
            _ = consume file
            try Syscall.shim("make network namespace \(path)", slipway_netns_create(path))
        }
    }

    /// True if a namespace is mounted at the file.
    static func exists(at path: String) -> Bool {
        // The file of a namespace lies on nsfs, another device than the folder's.
        var file = stat(), parent = stat()
        return stat(path, &file) == 0 && stat(Files.parent(path), &parent) == 0 && file.st_dev != parent.st_dev
    }

    /// Unmounts and removes the file. Fine if there is none. The namespace itself ends with its last process.
    static func remove(at path: String) throws(PaaSError) {
        try NetworkTool.system("a network namespace could not be removed") { () throws(SystemError) in
            // Mounts can lie on top of each other after a crash; EINVAL says that none is left.
            for _ in 0..<8 {
                let result = slipway_unmount(path, Int32(MNT_DETACH) | 8 /* UMOUNT_NOFOLLOW */)
                if result == -EINVAL || result == -ENOENT { break }
                try Syscall.shim("unmount \(path)", result)
            }
            try Files.remove(path)
        }
    }

    /// Runs `body` with this thread inside the namespace. Also `/proc/sys/net` is the namespace's own then.
    static func run<T>(in path: String, _ body: () throws(SystemError) -> T) throws(SystemError) -> T {
        let home = try OwnedFD.open("/proc/thread-self/ns/net", O_RDONLY)
        let inside = try OwnedFD.open(path, O_RDONLY)
        try Syscall.shim("enter \(path)", slipway_netns_enter(inside.raw))
        defer {
            // A thread that stays in a tenant's namespace would do the next work there: never go on.
            let result = slipway_netns_enter(home.raw)
            precondition(result == 0, "can't leave a network namespace (\(result))")
        }
        return try body()
    }

    /// What must hold before the first interface appears: addresses usable at once, no router advertisements taken from
    /// neighbours, ports below 1024 and ping for any user.
    static func prepare(at path: String) throws(PaaSError) {
        try NetworkTool.system("a network namespace could not be configured") { () throws(SystemError) in
            try run(in: path) { () throws(SystemError) in
                let values = [
                    ("ipv4/ip_unprivileged_port_start", "0"), ("ipv4/ping_group_range", "0 2147483647"),
                    ("ipv6/conf/all/disable_ipv6", "0"), ("ipv6/conf/default/disable_ipv6", "0"),
                    ("ipv6/conf/all/accept_dad", "0"), ("ipv6/conf/default/accept_dad", "0"),
                    ("ipv6/conf/default/dad_transmits", "0"),
                    ("ipv6/conf/all/accept_ra", "0"), ("ipv6/conf/default/accept_ra", "0"),
                    ("ipv4/conf/all/accept_redirects", "0"), ("ipv4/conf/default/accept_redirects", "0"),
                    ("ipv6/conf/all/accept_redirects", "0"), ("ipv6/conf/default/accept_redirects", "0"),
                ]
                for (name, value) in values { try Files.writeExisting("/proc/sys/net/\(name)", value) }
            }
        }
    }
}
