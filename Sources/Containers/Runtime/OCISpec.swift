import Domain

/// The OCI runtime configuration of one container. Pure: everything it depends on comes in.
public struct OCISpec: Sendable {
    /// A part of the host's file system that appears inside.
    public struct Bind: Sendable, Hashable {
        public var source: String
        public var destination: String
        public var readOnly: Bool
        /// Programs in it may be executed.
        public var executable: Bool
        public init(_ source: String, at destination: String, readOnly: Bool, executable: Bool = true) {
            self.source = source
            self.destination = destination
            self.readOnly = readOnly
            self.executable = executable
        }
    }

    public var rootfs: String
    public var hostname: String
    public var arguments: [String]
    public var directory: String
    /// Plain variables only; the app's own come in a file.
    public var environment: [String]
    /// First host uid (and gid) of the app's range of 65,536.
    public var firstUID: UInt32
    /// A sysfs of the container's network namespace; nil: none is mounted.
    public var sysfs: String?
    public var binds: [Bind]
    /// Path of the network namespace; nil: a new, empty one.
    public var networkNamespace: String?
    public var cgroupPath: String
    public var limits: ContainerSpec.Limits
    public var limitsSwap: Bool
    /// The host's hard limit of open files, above which none can be asked for.
    public var hostOpenFiles: UInt64
    public var seccomp: JSONValue
    public var annotations: [String: String]

    public static let usersPerApp: UInt32 = 65_536
    /// The uid and gid of a process, inside.
    public static let insideUID: UInt32 = 1000
    static let cpuPeriodMicroseconds = 100_000

    public init(
        rootfs: String, hostname: String, arguments: [String], directory: String, environment: [String],
        firstUID: UInt32, sysfs: String?, binds: [Bind], networkNamespace: String?, cgroupPath: String,
        limits: ContainerSpec.Limits, limitsSwap: Bool, hostOpenFiles: UInt64, seccomp: JSONValue,
        annotations: [String: String]
    ) {
        self.rootfs = rootfs
        self.hostname = hostname
        self.arguments = arguments
        self.directory = directory
        self.environment = environment
        self.firstUID = firstUID
        self.sysfs = sysfs
        self.binds = binds
        self.networkNamespace = networkNamespace
        self.cgroupPath = cgroupPath
        self.limits = limits
        self.limitsSwap = limitsSwap
        self.hostOpenFiles = hostOpenFiles
        self.seccomp = seccomp
        self.annotations = annotations
    }

    /// `web.1` becomes `web-1`: a dot would make a domain of it.
    public static func hostname(of name: String) -> String { String(name.map { $0 == "." ? "-" : $0 }) }

    /// First host uid of an app's range; the caller has checked that it lies within 32 bits.
    public static func firstUID(base: UInt32, slot: Int) -> UInt32 { base + UInt32(slot) * usersPerApp }

    public var document: JSONValue {
        .record([
            ("ociVersion", .string("1.0.2")),
            ("hostname", .string(hostname)),
            ("root", .record([("path", .string(rootfs)), ("readonly", .bool(false))])),
            ("process", process),
            ("mounts", .array(mounts)),
            ("annotations", .map(annotations)),
            ("linux", linux),
        ])
    }

    private var process: JSONValue {
        let none = JSONValue.array([])
        let openFiles = min(UInt64(max(limits.openFiles, 64)), hostOpenFiles)
        func limit(_ type: String, _ value: UInt64) -> JSONValue {
            let number = JSONValue.integer(Int64(clamping: value))
            return .record([("type", .string(type)), ("hard", number), ("soft", number)])
        }
        return .record([
            ("terminal", .bool(false)),
            ("user", .record([("uid", .uid(Self.insideUID)), ("gid", .uid(Self.insideUID))])),
            ("args", .array(arguments.map { .string($0) })),
            ("env", .array(environment.map { .string($0) })),
            ("cwd", .string(directory)),
            (
                "capabilities",
                .record([
                    ("bounding", none), ("effective", none), ("inheritable", none), ("permitted", none),
                    ("ambient", none),
                ])
            ),
            ("rlimits", .array([limit("RLIMIT_NOFILE", openFiles), limit("RLIMIT_CORE", 0)])),
            ("noNewPrivileges", .bool(true)),
            // When the host itself runs short, containers go before the platform.
            ("oomScoreAdj", .integer(Int64(300))),
        ])
    }

    private var mounts: [JSONValue] {
        func mount(_ destination: String, _ type: String, _ source: String, _ options: String...) -> JSONValue {
            .record([
                ("destination", .string(destination)), ("type", .string(type)), ("source", .string(source)),
                ("options", .array(options.map { .string($0) })),
            ])
        }
        let shm = min(limits.writableBytes, 64 << 20)
        var out = [
            mount("/proc", "proc", "proc", "nosuid", "noexec", "nodev"),
            mount("/dev", "tmpfs", "tmpfs", "nosuid", "noexec", "mode=755", "size=65536"),
            mount(
                "/dev/pts", "devpts", "devpts", "nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"
            ),
            mount("/dev/shm", "tmpfs", "shm", "nosuid", "noexec", "nodev", "mode=1777", "size=\(shm)"),
            mount("/dev/mqueue", "mqueue", "mqueue", "nosuid", "noexec", "nodev"),
        ]
        if let sysfs {
            out.append(mount("/sys", "bind", sysfs, "rbind", "ro", "nosuid", "noexec", "nodev"))
            out.append(mount("/sys/fs/cgroup", "cgroup", "cgroup", "ro", "nosuid", "noexec", "nodev"))
        }
        for bind in binds {
            var options = ["bind", bind.readOnly ? "ro" : "rw", "nosuid", "nodev"]
            if !bind.executable { options.append("noexec") }
            out.append(
                .record([
                    ("destination", .string(bind.destination)), ("type", .string("bind")),
                    ("source", .string(bind.source)), ("options", .array(options.map { .string($0) })),
                ]))
        }
        return out
    }

    private var linux: JSONValue {
        let mapping = JSONValue.array([
            .record([
                ("containerID", .uid(0)), ("hostID", .uid(firstUID)), ("size", .uid(Self.usersPerApp)),
            ])
        ])
        var namespaces = ["pid", "ipc", "uts", "mount", "user", "cgroup"].map {
            JSONValue.record([("type", .string($0))])
        }
        var network: [(String, JSONValue)] = [("type", .string("network"))]
        if let networkNamespace { network.append(("path", .string(networkNamespace))) }
        namespaces.append(.record(network))
        var memory: [(String, JSONValue)] = [("limit", .integer(limits.memoryBytes))]
        // Memory and swap together: equal means none of it may be swapped.
        if limitsSwap { memory.append(("swap", .integer(limits.memoryBytes))) }
        let quota = max(1000, Int64(limits.cpuMillis) * Int64(Self.cpuPeriodMicroseconds) / 1000)
        let masked = [
            "/proc/acpi", "/proc/asound", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/latency_stats",
            "/proc/timer_list", "/proc/timer_stats", "/proc/sched_debug", "/proc/scsi", "/sys/firmware",
            "/sys/devices/virtual/powercap", "/sys/kernel/debug", "/sys/kernel/tracing", "/sys/kernel/security",
            // Loop devices name the files behind them, and so other apps' slugs and builds.
            "/sys/block", "/sys/class/block", "/sys/dev/block", "/sys/devices/virtual/block",
        ]
        let readOnly = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"]
        return .record([
            ("namespaces", .array(namespaces)),
            ("uidMappings", mapping),
            ("gidMappings", mapping),
            ("cgroupsPath", .string(cgroupPath)),
            (
                "resources",
                .record([
                    ("devices", .array([.record([("allow", .bool(false)), ("access", .string("rwm"))])])),
                    ("memory", .record(memory)),
                    (
                        "cpu",
                        .record([
                            ("quota", .integer(quota)), ("period", .integer(Int64(Self.cpuPeriodMicroseconds))),
                        ])
                    ),
                    ("pids", .record([("limit", .integer(Int64(limits.pids)))])),
                ])
            ),
            ("seccomp", seccomp),
            ("maskedPaths", .array(masked.map { .string($0) })),
            ("readonlyPaths", .array(readOnly.map { .string($0) })),
            ("rootfsPropagation", .string("private")),
        ])
    }
}

extension JSONValue {
    static func record(_ members: [(String, JSONValue)]) -> JSONValue {
        .object(members.map { Member($0.0, $0.1) })
    }

    fileprivate static func uid(_ value: UInt32) -> JSONValue { .integer(Int64(value)) }
}
