import Domain
import Glibc
import OS

/// One thing that was looked at on the host.
public struct HostFinding: Sendable, Codable, Hashable {
    public var name: String
    public var ok: Bool
    /// What was found.
    public var detail: String
    /// What to do, if something is wrong.
    public var fix: String?
    public init(name: String, ok: Bool, detail: String, fix: String? = nil) {
        self.name = name
        self.ok = ok
        self.detail = detail
        self.fix = ok ? nil : fix
    }
}

/// Looks at everything on the host that containers need. Blocking; as root.
public enum HostDoctor {
    static let minimumKernel = (5, 19)
    static let minimumFreeBytes: UInt64 = 2 << 30

    public static func examine(settings: Settings) -> [HostFinding] {
        var findings = [kernel()]
        let fileSystems = (try? Files.readText("/proc/filesystems")) ?? nil
        for name in ["overlay", "erofs", "tmpfs", "ext4"] {
            let there = fileSystems?.split(whereSeparator: \.isWhitespace).contains { $0 == name } ?? false
            // A module is loaded at the first mount.
            let loadable = there || succeeds("/sbin/modprobe", ["-n", "-q", name])
            findings.append(
                HostFinding(
                    name: "file system \(name)", ok: loadable,
                    detail: there ? "there" : loadable ? "a module" : "missing",
                    fix: "use a kernel with \(name), such as Debian's own"))
        }
        findings.append(
            HostFinding(
                name: "loop devices", ok: Files.exists("/dev/loop-control"),
                detail: Files.exists("/dev/loop-control") ? "there" : "/dev/loop-control is missing",
                fix: "modprobe loop"))
        findings.append(userNamespaces())
        findings.append(contentsOf: programs())
        let cgroups = HostCgroups(parent: settings.hostName)
        findings.append(
            HostFinding(
                name: "cgroups", ok: !cgroups.hierarchies.isEmpty,
                detail: "\(cgroups.version.rawValue), \(cgroups.hierarchies.count) hierarchies",
                fix: "mount cgroup2 at /sys/fs/cgroup"))
        findings.append(runtime(settings, cgroups))
        findings.append(seccomp())
        findings.append(disk(settings))
        if let problem = BuildCertificates.problem(settings) {
            findings.append(
                HostFinding(
                    name: "certificates for builds", ok: false, detail: problem, fix: "correct PAAS_CA_CERTIFICATES"))
        }
        for (folder, problem) in HostFolders.findings(settings) {
            findings.append(
                HostFinding(
                    name: "folder for builds", ok: problem == nil, detail: problem ?? folder,
                    fix: "correct PAAS_BUILDPACK_DIRS and PAAS_SWIFT_TOOLCHAIN, then restart the platform"))
        }
        return findings
    }

    private static func kernel() -> HostFinding {
        let release = ((try? Files.readText("/proc/sys/kernel/osrelease")) ?? nil) ?? ""
        let numbers = release.split(whereSeparator: { $0 == "." || $0 == "-" || $0 == "+" }).prefix(2).map {
            Int($0) ?? 0
        }
        let ok = numbers.count == 2 && (numbers[0], numbers[1]) >= minimumKernel
        return HostFinding(
            name: "kernel", ok: ok, detail: "Linux \(release)",
            fix: "Linux 5.19 or later is needed for id-mapped EROFS mounts; Debian 12 and 13 have it")
    }

    private static func userNamespaces() -> HostFinding {
        let text = ((try? Files.readText("/proc/sys/user/max_user_namespaces")) ?? nil) ?? "0"
        return HostFinding(
            name: "user namespaces", ok: Int(text) ?? 0 >= 64, detail: "at most \(text)",
            fix: "sysctl -w user.max_user_namespaces=16384")
    }

    private static func programs() -> [HostFinding] {
        [
            (HostPrograms.conmon, "conmon"), (HostPrograms.initProgram, "tini"), ("/usr/sbin/nft", "nftables"),
            ("/usr/sbin/ip", "iproute2"), ("/usr/lib/cni/bridge", "containernetworking-plugins"),
            ("/usr/bin/mkfs.erofs", "erofs-utils"), ("/sbin/mkfs.ext4", "e2fsprogs"),
            ("/usr/bin/mmdebstrap", "mmdebstrap"),
        ].map { path, package in
            let ok = access(path, X_OK) == 0
            var detail = ok ? path : "\(path) is missing"
            if ok && package == "conmon",
                let result = try? Command(ProcessSpec(path, ["--version"]), timeoutSeconds: 5).run()
            {
                detail = String(result.text.prefix { !$0.isNewline })
            }
            return HostFinding(name: package, ok: ok, detail: detail, fix: "apt-get install \(package)")
        }
    }

    private static func runtime(_ settings: Settings, _ cgroups: HostCgroups) -> HostFinding {
        do throws(PaaSError) {
            let runtime = try RuntimeChoice.choose(settings: settings, cgroups: cgroups)
            return HostFinding(name: "OCI runtime", ok: true, detail: runtime.version)
        } catch {
            return HostFinding(name: "OCI runtime", ok: false, detail: error.message, fix: "apt-get install runc")
        }
    }

    private static func seccomp() -> HostFinding {
        do throws(PaaSError) {
            _ = try HostFacts.seccomp()
            return HostFinding(name: "seccomp profile", ok: true, detail: SeccompProfile.defaultPath)
        } catch {
            return HostFinding(
                name: "seccomp profile", ok: false, detail: error.message,
                fix: "apt-get install golang-github-containers-common")
        }
    }

    private static func disk(_ settings: Settings) -> HostFinding {
        var info = statvfs()
        var path = settings.dataDirectory
        while statvfs(path, &info) != 0 && path != "/" { path = Files.parent(path) }
        let free = UInt64(info.f_bavail) * UInt64(info.f_frsize)
        return HostFinding(
            name: "disk", ok: free >= minimumFreeBytes, detail: "\(free >> 20) MiB free at \(path)",
            fix: "free some space, or set PAAS_DATA_DIR to a larger disk")
    }

    private static func succeeds(_ path: String, _ arguments: [String]) -> Bool {
        (try? Command(ProcessSpec(path, arguments), timeoutSeconds: 5).run())?.status == 0
    }
}
