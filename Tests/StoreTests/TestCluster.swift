import FoundationEssentials
import Glibc
import Postgres
import Synchronization

struct ClusterError: Error, CustomStringConvertible {
    var description: String
    init(_ description: String) { self.description = description }
}

/// A real, private Postgres: own directory, unix socket only, ended with the tests.
final class TestCluster: Sendable {
    /// The one that tests share which don't harm it.
    private static let started = Result { try TestCluster() }
    static func shared() throws -> TestCluster { try started.get() }

    let directory: String
    private let programs: String
    private let server = Mutex<pid_t?>(nil)
    private let databases = Mutex(0)

    init() throws {
        signal(SIGPIPE, SIG_IGN)
        let versions = try FileManager.default.contentsOfDirectory(atPath: "/usr/lib/postgresql")
        guard let newest = versions.compactMap({ Int($0) }).max() else {
            throw ClusterError("no Postgres server is installed: apt-get install postgresql")
        }
        programs = "/usr/lib/postgresql/\(newest)/bin"
        var template = Array("/tmp/slipway-pg-XXXXXX".utf8CString)
        guard let made = mkdtemp(&template) else { throw ClusterError("mkdtemp: errno \(errno)") }
        directory = String(cString: made)
        ClusterCleanup.add(directory)
        if getuid() == 0 {
            guard let user = getpwnam("postgres") else { throw ClusterError("there is no user postgres") }
            chown(directory, user.pointee.pw_uid, user.pointee.pw_gid)
        }
        try run(
            asServer: true,
            [
                "\(programs)/initdb", "-D", "\(directory)/data", "-U", "postgres", "--auth=trust", "--no-sync",
                "-E", "UTF8", "--locale=C.UTF-8",
            ])
        try start()
    }

    deinit { stop() }

    /// Starts the server; returns once it accepts connections.
    func start() throws {
        let arguments = Self.asServer([
            "\(programs)/postgres", "-D", "\(directory)/data", "-k", directory, "-c", "listen_addresses=", "-c",
            "fsync=off", "-c", "full_page_writes=off", "-c", "max_connections=300", "-c", "shared_buffers=64MB", "-c",
            "log_min_messages=warning",
        ])
        for attempt in 1... {
            let pid = try Child.startGuarded(arguments, log: "\(directory)/log")
            server.withLock { $0 = pid }
            ClusterCleanup.add(pid)
            for _ in 0..<600 {
                if Child.hasEnded(pid) { break }
                if (try? run(asServer: false, ["\(programs)/pg_isready", "-q", "-h", directory, "-U", "postgres"]))
                    != nil
                {
                    return
                }
                usleep(50_000)
            }
            // After kill -9 its children can hold the shared memory for a moment.
            guard attempt < 40 else { throw ClusterError("postgres does not start, see \(directory)/log") }
            usleep(100_000)
        }
    }

    /// Ends the server as the kernel would: at once.
    func kill9() {
        guard let pid = server.withLock({ $0 }) else { return }
        kill(pid, SIGKILL)
        while !Child.hasEnded(pid) { usleep(5_000) }
    }

    func stop() {
        guard let pid = server.withLock({ $0 }) else { return }
        kill(pid, SIGQUIT)
        while !Child.hasEnded(pid) { usleep(5_000) }
        server.withLock { $0 = nil }
    }

    /// A new, empty database; returns its URL.
    func createDatabase() throws -> String {
        let number = databases.withLock { count in
            count += 1
            return count
        }
        let name = "test\(number)"
        try run(asServer: false, ["\(programs)/createdb", "-h", directory, "-U", "postgres", name])
        return "postgresql:///\(name)?host=\(directory)&user=postgres"
    }

    /// Everything of a database as SQL text.
    func dump(_ url: String) throws -> String {
        let file = "\(directory)/dump-\(UUID().uuidString)"
        try run(asServer: false, ["\(programs)/pg_dump", "--inserts", "-f", file, "-d", url])
        guard let data = FileManager.default.contents(atPath: file) else { throw ClusterError("no dump") }
        return String(decoding: data, as: UTF8.self)
    }

    private func run(asServer: Bool, _ arguments: [String]) throws {
        let pid = try Child.spawn(asServer ? Self.asServer(arguments) : arguments, log: "\(directory)/log")
        let status = Child.wait(pid)
        guard status == 0 else { throw ClusterError("\(arguments[0]) failed (status \(status)), see \(directory)/log") }
    }

    /// Postgres refuses to run as root. The signal ends it should the tests die without a word.
    private static func asServer(_ arguments: [String]) -> [String] {
        let drop = getuid() == 0 ? ["--reuid=postgres", "--regid=postgres", "--clear-groups"] : []
        return ["/usr/bin/setpriv", "--pdeathsig", "QUIT"] + drop + arguments
    }
}

/// Child processes of the tests.
enum Child {
    private static let ended = Mutex<[pid_t: Int32]>([:])

    static func spawn(_ arguments: [String], log: String) throws -> pid_t {
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
        posix_spawn_file_actions_addopen(&actions, 1, log, O_WRONLY | O_CREAT | O_APPEND, 0o666)
        posix_spawn_file_actions_adddup2(&actions, 1, 2)
        let cArguments = arguments.map { strdup($0) } + [nil]
        let environment = [strdup("PATH=/usr/bin:/bin"), strdup("LC_ALL=C.UTF-8"), nil]
        defer { for pointer in cArguments + environment { free(pointer) } }
        var pid: pid_t = 0
        let code = posix_spawn(&pid, arguments[0], &actions, nil, cArguments, environment)
        guard code == 0 else { throw ClusterError("can't start \(arguments[0]): errno \(code)") }
        return pid
    }

    static func wait(_ pid: pid_t) -> Int32 {
        var status: Int32 = 0
        while waitpid(pid, &status, 0) < 0 && errno == EINTR {}
        return status
    }

    static func hasEnded(_ pid: pid_t) -> Bool { ended.withLock { $0[pid] != nil } }

    /// Starts it from a thread that lives as long as it does: the parent of which its parent-death signal tells.
    static func startGuarded(_ arguments: [String], log: String) throws -> pid_t {
        final class Box: Sendable {
            let arguments: [String]
            let log: String
            let result = Mutex<Result<pid_t, ClusterError>?>(nil)
            init(_ arguments: [String], _ log: String) {
                self.arguments = arguments
                self.log = log
            }
        }
        let box = Box(arguments, log)
        var thread = pthread_t()
        pthread_create(
            &thread, nil,
            { raw in
                guard let raw else { return nil }
                let box = Unmanaged<Box>.fromOpaque(raw).takeRetainedValue()
                do {
                    let pid = try Child.spawn(box.arguments, log: box.log)
                    box.result.withLock { $0 = .success(pid) }
                    let status = Child.wait(pid)
                    Child.ended.withLock { $0[pid] = status }
                } catch {
                    box.result.withLock { $0 = .failure(ClusterError("\(error)")) }
                }
                return nil
            }, Unmanaged.passRetained(box).toOpaque())
        pthread_detach(thread)
        while true {
            if let result = box.result.withLock({ $0 }) { return try result.get() }
            usleep(1_000)
        }
    }
}

/// Ends the servers and removes their directories when the test program ends.
private enum ClusterCleanup {
    static let pids = Mutex<[pid_t]>([])
    static let directories = Mutex<[String]>([])
    static let registered: Void = {
        atexit {
            for pid in pids.withLock({ $0 }) where !Child.hasEnded(pid) {
                kill(pid, SIGQUIT)
                for _ in 0..<1000 where !Child.hasEnded(pid) { usleep(5_000) }
            }
            for directory in directories.withLock({ $0 }) { try? FileManager.default.removeItem(atPath: directory) }
        }
    }()

    static func add(_ pid: pid_t) {
        _ = registered
        pids.withLock { $0.append(pid) }
    }

    static func add(_ directory: String) {
        _ = registered
        directories.withLock { $0.append(directory) }
    }
}

/// Waits for a condition; false if it does not come true in time.
func eventually(seconds: Double = 20, _ condition: () async throws -> Bool) async rethrows -> Bool {
    let deadline = ContinuousClock.now.advanced(by: .seconds(seconds))
    while ContinuousClock.now < deadline {
        if try await condition() { return true }
        try? await Task.sleep(for: .milliseconds(20))
    }
    return false
}
