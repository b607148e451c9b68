import CShim
import Glibc

/// What to start: an absolute path, arguments as an array, a whole environment.
public struct ProcessSpec: Sendable {
    public struct User: Sendable, Hashable {
        public var uid: uid_t
        public var gid: gid_t
        public var groups: [gid_t]
        public init(uid: uid_t, gid: gid_t, groups: [gid_t] = []) {
            self.uid = uid
            self.gid = gid
            self.groups = groups
        }

        /// From the host's user database. Nil if there is no such user.
        public static func named(_ name: String) -> User? {
            var record = passwd()
            var result: UnsafeMutablePointer<passwd>?
            var buffer = [CChar](repeating: 0, count: 16_384)
            guard getpwnam_r(name, &record, &buffer, buffer.count, &result) == 0, result != nil else { return nil }
            return User(uid: record.pw_uid, gid: record.pw_gid)
        }
    }

    public var path: String
    /// Without the program's own name.
    public var arguments: [String]
    public var environment: [String: String]
    /// Entries `NAME=value` as bytes, in place of `environment`: for values that are not text.
    public var rawEnvironment: [[UInt8]]?
    public var directory: String?
    public var newSession = false
    public var user: User?
    public var fileBytesLimit: Int64?
    public var openFilesLimit: Int64?
    public var cpuSecondsLimit: Int64?
    /// Sent to it when the thread that started it ends; 0: none.
    public var parentDeathSignal: Int32 = 0
    /// How gladly the kernel ends it when memory runs short, -1000 to 1000; nil: as its parent.
    public var outOfMemoryScore: Int32?
    public var umask: mode_t?
    /// `cgroup.procs` files that the child enters before it starts.
    public var cgroupFiles: [String] = []

    public init(_ path: String, _ arguments: [String], environment: [String: String] = ProcessSpec.plainEnvironment) {
        self.path = path
        self.arguments = arguments
        self.environment = environment
    }

    /// Nothing of ours: a path and a locale.
    public static let plainEnvironment = [
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8",
    ]
}

/// A child of ours, watched through a pidfd so that its pid can't be mistaken.
public struct ChildProcess: ~Copyable, Sendable {
    public let pid: pid_t
    public let pidfd: OwnedFD

    /// Starts it. `descriptors[i]` becomes its descriptor i; nil is /dev/null. All others are closed.
    public static func spawn(_ spec: ProcessSpec, descriptors: [Int32?]) throws(SystemError) -> ChildProcess {
        var c = slipway_spawn()
        var strings: [UnsafeMutablePointer<CChar>] = []
        func copy(_ text: String) -> UnsafeMutablePointer<CChar> {
            let size = text.utf8.count + 1
            let pointer = UnsafeMutablePointer<CChar>.allocate(capacity: size)
            text.withCString { pointer.update(from: $0, count: size) }
            strings.append(pointer)
            return pointer
        }
        defer { strings.forEach { $0.deallocate() } }
        let argv = [copy(spec.path)] + spec.arguments.map { copy($0) }
        func copy(_ bytes: [UInt8]) -> UnsafeMutablePointer<CChar> {
            let pointer = UnsafeMutablePointer<CChar>.allocate(capacity: bytes.count + 1)
            for (index, byte) in bytes.enumerated() { pointer[index] = CChar(bitPattern: byte) }
            pointer[bytes.count] = 0
            strings.append(pointer)
            return pointer
        }
        let envp =
            spec.rawEnvironment?.map { copy($0) }
            ?? spec.environment.sorted { $0.key < $1.key }.map { copy("\($0.key)=\($0.value)") }
        let fds = descriptors.map { $0 ?? -1 }
        let groups = spec.user?.groups ?? []
        c.path = UnsafePointer(argv[0])
        c.cwd = spec.directory.map { UnsafePointer(copy($0)) }
        c.new_session = spec.newSession ? 1 : 0
        c.limit_file_bytes = spec.fileBytesLimit ?? -1
        c.limit_open_files = spec.openFilesLimit ?? -1
        c.limit_cpu_seconds = spec.cpuSecondsLimit ?? -1
        c.parent_death_signal = spec.parentDeathSignal
        c.oom_score_adj = spec.outOfMemoryScore.map { UnsafePointer(copy(String($0))) }
        c.umask_value = spec.umask.map { Int32($0) } ?? -1
        if let user = spec.user {
            c.change_user = 1
            c.uid = user.uid
            c.gid = user.gid
        }
        precondition(spec.cgroupFiles.count <= 16, "at most 16 cgroups")
        withUnsafeMutableBytes(of: &c.cgroup_procs) { raw in
            let slots = raw.bindMemory(to: UnsafePointer<CChar>?.self)
            for (i, file) in spec.cgroupFiles.enumerated() { slots[i] = UnsafePointer(copy(file)) }
        }
        let result: pid_t = (argv.map { Optional($0) } + [nil]).withUnsafeBufferPointer { argv in
            (envp.map { Optional($0) } + [nil]).withUnsafeBufferPointer { envp in
                fds.withUnsafeBufferPointer { fds in
                    groups.withUnsafeBufferPointer { groups in
                        c.argv = argv.baseAddress
                        c.envp = envp.baseAddress
                        c.fds = fds.baseAddress
                        c.fd_count = fds.count
                        c.groups = groups.baseAddress
                        c.group_count = groups.count
                        return slipway_spawn_child(&c)
                    }
                }
            }
        }
        let pid = try Syscall.shim("start \(spec.path)", result)
        do throws(SystemError) {
            return ChildProcess(pid: pid, pidfd: OwnedFD(try Syscall.shim("pidfd_open", slipway_pidfd_open(pid))))
        } catch {
            // Out of descriptors, and it is still ours alone: nobody could wait for it later.
            kill(pid, SIGKILL)
            while waitpid(pid, nil, 0) < 0 && errno == EINTR {}
            throw error
        }
    }

    /// Blocks until it ended. Its exit status; 128 + signal for a death by signal.
    public consuming func wait() throws(SystemError) -> Int32 {
        var status: Int32 = 0
        try Syscall.shim("waitid", slipway_pidfd_wait(pidfd.raw, 0, &status))
        return status
    }

    /// Its exit status if it ended; nil if it runs.
    public borrowing func poll() throws(SystemError) -> Int32? {
        var status: Int32 = 0
        return try Syscall.shim("waitid", slipway_pidfd_wait(pidfd.raw, 1, &status)) == 0 ? nil : status
    }

    /// Kills it, waits for its end, and gives `error` back: for a caller that can't go on with it.
    public consuming func abandon(_ error: SystemError) -> SystemError {
        do throws(SystemError) {
            try signal(SIGKILL)
            _ = try wait()
            return error
        } catch let second {
            return SystemError("\(error.operation), then \(second)", errno: error.errno)
        }
    }

    /// Fine if it has ended.
    public borrowing func signal(_ number: Int32) throws(SystemError) {
        let result = slipway_pidfd_send_signal(pidfd.raw, number)
        if result != -ESRCH { try Syscall.shim("pidfd_send_signal", result) }
    }
}
