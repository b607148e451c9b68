import Domain
import FoundationEssentials
import Glibc
import Logging
import OS
import Synchronization

/// dnsmasq on the gateways of our bridges, for hosts whose own resolvers are loopback addresses only. It outlives the engine
/// and is found again by its pid and start time.
final class NameForwarder: Sendable {
    private struct Identity: Codable, Equatable {
        var pid: Int32
        var startTime: Int64
    }

    private struct State: ~Copyable {
        /// Set if this engine started it, to be waited for.
        var child: ChildProcess?
    }

    private let file: String
    private let log: String
    private let bridges: String
    private let resolverFile: String
    private let logger: Logger
    private let state = Mutex(State(child: nil))

    /// - Parameters:
    ///   - folder: where its identity and its last words are kept.
    ///   - bridges: prefix of the interfaces it serves.
    ///   - resolverFile: names the servers that it asks.
    init(folder: String, bridges: String, resolverFile: String, logger: Logger) {
        file = folder + "/dnsmasq.json"
        log = folder + "/dnsmasq.log"
        self.bridges = bridges
        self.resolverFile = resolverFile
        self.logger = logger
    }

    /// Starts it unless it runs.
    func ensure() throws(PaaSError) {
        let result: Result<Void, PaaSError> = state.withLock { state in
            do throws(PaaSError) {
                if try running(&state) == nil { try start(&state) } else { try shortenLog() }
                return .success(())
            } catch {
                return .failure(error)
            }
        }
        try result.get()
    }

    /// Ends it. Fine if it does not run.
    func stop() throws(PaaSError) {
        let result: Result<Void, PaaSError> = state.withLock { state in
            do throws(PaaSError) {
                if let identity = try running(&state) {
                    try NetworkTool.system("dnsmasq could not be ended") { () throws(SystemError) in
                        if kill(identity.pid, SIGTERM) != 0 && errno != ESRCH { throw .last("kill \(identity.pid)") }
                    }
                    let begin = Monotonic.now()
                    while try running(&state) != nil {
                        let waited = Monotonic.now() - begin
                        if waited > 10 {
                            throw PaaSError(.internal, "dnsmasq (process \(identity.pid)) does not end")
                        }
                        if waited > 3 { kill(identity.pid, SIGKILL) }
                        usleep(10_000)
                    }
                }
                try NetworkTool.system("dnsmasq's state could not be removed") { () throws(SystemError) in
                    try Files.remove(file)
                    try Files.remove(log)
                }
                return .success(())
            } catch {
                return .failure(error)
            }
        }
        try result.get()
    }

    var processID: Int32? {
        get throws(PaaSError) {
            let result: Result<Int32?, PaaSError> = state.withLock { state in
                do throws(PaaSError) {
                    return .success(try running(&state)?.pid)
                } catch {
                    return .failure(error)
                }
            }
            return try result.get()
        }
    }

    private func running(_ state: inout State) throws(PaaSError) -> Identity? {
        try NetworkTool.system("dnsmasq's state could not be read") { () throws(SystemError) in
            if let child = state.child.take() {
                // A child of ours is a zombie until it is waited for.
                if try child.poll() == nil { state.child = consume child }
            }
            guard let bytes = try Files.read(file, limit: 4096),
                let identity = try? JSONDecoder().decode(Identity.self, from: Data(bytes)), identity.pid > 1,
                try Host.startTime(of: identity.pid) == identity.startTime
            else { return nil }
            // One that was started by an engine before this one may wait for its new parent to take notice.
            let stat = try Files.readText("/proc/\(identity.pid)/stat") ?? ""
            return stat.contains(") Z ") ? nil : identity
        }
    }

    private static let logLimit = 256 << 10

    private func shortenLog() throws(PaaSError) {
        try NetworkTool.system("dnsmasq's log could not be shortened") { () throws(SystemError) in
            var info = stat()
            if lstat(log, &info) != 0 || info.st_size <= Self.logLimit { return }
            try Syscall.check("truncate \(log)") { truncate(log, 0) }
        }
    }

    private func start(_ state: inout State) throws(PaaSError) {
        let tool = try NetworkTool.path("dnsmasq", package: "dnsmasq-base")
        try NetworkTool.system("dnsmasq could not be started") { () throws(SystemError) in
            var spec = ProcessSpec(
                tool,
                [
                    "--keep-in-foreground", "--conf-file=/dev/null", "--pid-file=", "--no-hosts", "--bind-dynamic",
                    "--interface=\(bridges)*", "--except-interface=lo", "--cache-size=1000", "--log-facility=-",
                    "--resolv-file=\(resolverFile)",
                ])
            spec.newSession = true
            if let words = try Files.readText(log), !words.isEmpty {
                logger.warning("dnsmasq ended", metadata: ["said": "\(words.suffix(1000))"])
            }
            // Not our own standard error: it outlives us, and our supervisor waits until nobody has that any more.
            let output = try OwnedFD.open(log, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_NOFOLLOW)
            let child = try ChildProcess.spawn(spec, descriptors: [nil, output.raw, output.raw])
            let pid = child.pid
            do throws(SystemError) {
                guard let startTime = try Host.startTime(of: pid) else {
                    throw SystemError("start dnsmasq", errno: ESRCH)
                }
                let identity = "{\"pid\":\(pid),\"startTime\":\(startTime)}"
                try Files.writeDurably(file, Array(identity.utf8))
            } catch {
                // Without its identity on disk nobody would find it again.
                throw child.abandon(error)
            }
            state.child = consume child
            logger.info("dnsmasq started", metadata: ["pid": "\(pid)"])
        }
    }
}
