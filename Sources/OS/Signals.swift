import Glibc

public enum Signals {
    /// First thing in each program: a peer that goes away must be an error of `write`, not the end of the process.
    public static func ignoreBrokenPipes() { signal(SIGPIPE, SIG_IGN) }

    /// Blocks the termination signals in this thread and all it starts, and calls `body` once on a thread of its own when
    /// one comes. To be called before any other thread starts.
    public static func onTermination(_ body: @escaping @Sendable (Int32) -> Void) {
        var set = sigset_t()
        sigemptyset(&set)
        for number in [SIGTERM, SIGINT, SIGHUP] { sigaddset(&set, number) }
        pthread_sigmask(SIG_BLOCK, &set, nil)
        Thread.start("signals") {
            var wanted = sigset_t()
            sigemptyset(&wanted)
            for number in [SIGTERM, SIGINT, SIGHUP] { sigaddset(&wanted, number) }
            var number: Int32 = 0
            while sigwait(&wanted, &number) != 0 {}
            body(number)
        }
    }
}

public enum Host {
    /// The kernel's boot id, or the contents of another file that a test put in its place.
    public static func bootID(file: String) throws(SystemError) -> String {
        guard let id = try Files.readText(file), !id.isEmpty else { throw SystemError("read \(file)", errno: ENOENT) }
        return id
    }

    /// Start time of a process in clock ticks since boot (`/proc/PID/stat`, field 22). Nil if there is no such process.
    public static func startTime(of pid: pid_t) throws(SystemError) -> Int64? {
        let stat: String?
        do throws(SystemError) {
            stat = try Files.readText("/proc/\(pid)/stat")
        } catch {
            if error.errno == ESRCH { return nil }
            throw error
        }
        // The second field is the command in parentheses and may hold anything, also spaces and parentheses.
        guard let stat, let close = stat.lastIndex(of: ")") else { return nil }
        let fields = stat[stat.index(after: close)...].split(separator: " ")
        return fields.count > 19 ? Int64(fields[19]) : nil
    }

    public static func name() -> String {
        var buffer = [CChar](repeating: 0, count: 256)
        guard gethostname(&buffer, 255) == 0 else { return "localhost" }
        return String(decoding: buffer.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }
}
