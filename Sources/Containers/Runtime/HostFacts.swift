import Domain
import Glibc
import OS

/// Programs of the host that containers need.
enum HostPrograms {
    static let conmon = "/usr/bin/conmon"
    /// Static, so that it runs on every stack.
    static let initProgram = "/usr/bin/tini-static"
}

/// What the host allows.
enum HostFacts {
    static func hardOpenFiles() -> UInt64 {
        var limit = rlimit()
        guard getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 else { return 1024 }
        return UInt64(limit.rlim_max)
    }

    /// As Go names it.
    static func architecture() -> String {
        #if arch(x86_64)
            "amd64"
        #elseif arch(arm64)
            "arm64"
        #else
            "unknown"
        #endif
    }

    /// The profile for a process without any capability.
    static func seccomp(path: String = SeccompProfile.defaultPath) throws(PaaSError) -> JSONValue {
        let bytes: [UInt8]?
        do throws(SystemError) {
            bytes = try Files.read(path, limit: 4 << 20)
        } catch {
            throw error.asPaaSError("the seccomp profile can't be read")
        }
        guard let bytes else {
            throw PaaSError(
                .unavailable, "\(path) is not there; apt-get install golang-github-containers-common")
        }
        return try SeccompProfile.oci(JSONParser.parse(bytes), architecture: architecture(), capabilities: [])
    }

    /// Seconds since boot, counting those asleep.
    static func uptime() -> Double {
        var time = timespec()
        clock_gettime(CLOCK_BOOTTIME, &time)
        return Double(time.tv_sec) + Double(time.tv_nsec) / 1e9
    }

    /// Whether that process (and no later one with its number) lives. A zombie counts as dead, and so does a process of
    /// which no start time is known: its number says nothing.
    static func lives(_ pid: Int32?, startTime: Int64?) -> Bool {
        guard let pid, pid > 0, let startTime else { return false }
        let stat: String?
        do {
            stat = try Files.readText("/proc/\(pid)/stat")
        } catch {
            // It may have ended between the opening and the reading. Whatever else keeps us from looking (no descriptor
            // left, for one) is no sign of death, and a container that counts as dead is removed.
            return error.errno != ESRCH && kill(pid, 0) == 0
        }
        guard let stat, let close = stat.lastIndex(of: ")") else { return false }
        let fields = stat[stat.index(after: close)...].split(separator: " ")
        guard fields.count > 19, fields[0] != "Z", fields[0] != "X" else { return false }
        return Int64(fields[19]) == startTime
    }
}
