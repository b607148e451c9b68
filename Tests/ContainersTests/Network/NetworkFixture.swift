import Domain
import Glibc
import Logging
import OS
import Synchronization
import Testing

@testable import Containers

/// A platform of its own for one test: instance, subnets, run directory.
struct NetworkFixture: Sendable {
    private static let counter = Mutex(0)
    private static let unfinished = Mutex<[NetworkFixture]>([])

    let settings: Settings
    let outsideHost4: String
    let outside4: String
    let denied4: String
    let outsideHost6: String
    let outside6: String
    private let number: Int

    init(deny: Bool = false, extra: [String: String] = [:]) throws {
        number = Self.counter.withLock { count in
            count += 1
            return count
        }
        // Two test runs at a time keep out of each other's way by their pids, and all of what else has routes here.
        let routes = String(decoding: try Files.read("/proc/net/route", limit: 1 << 20) ?? [], as: UTF8.self)
        let first = Int(getpid()) % 8 * 2 + number % 2
        let lanes = (0..<16).map { (first + $0) % 16 }
        let lane = try #require(lanes.first { !Self.isTaken($0, routes) }, "10.219.0.0/16 is in use on this host")
        let instance = "t\(getpid() % 100_000)\(number)"
        // bin/test names a folder of its own, and so finds what a run left that was ended half-way.
        let run = (getenv("TMPDIR").map { String(cString: $0) } ?? "/tmp") + "/paas-nw-\(instance)"
        outsideHost4 = "198.18.\(lane).1"
        outside4 = "198.18.\(lane).2"
        denied4 = "198.18.\(lane).3"
        outsideHost6 = "fd5a:9:\(lane)::1"
        outside6 = "fd5a:9:\(lane)::2"
        var environment = [
            "PAAS_RUN_DIR": run, "PAAS_DATA_DIR": run + "/data", "PAAS_INSTANCE": instance,
            "PAAS_SUBNETS": "10.219.\(lane * 16).0/20,fd5a:1bac:\(lane)::/48", "PAAS_PORT_RANGE": "20000-20099",
        ]
        if deny { environment["PAAS_EGRESS_DENY"] = "\(denied4)/32" }
        environment.merge(extra) { _, new in new }
        settings = try Settings(environment: environment, file: "")
        try Files.makeDirectories(run)
        let made = self
        Self.unfinished.withLock { $0.append(made) }
    }

    /// Whether a route leads into `10.219.(lane * 16).0/20`, as `/proc/net/route` writes addresses.
    private static func isTaken(_ lane: Int, _ routes: String) -> Bool {
        routes.split(separator: "\n").contains { route in
            let fields = route.split(separator: "\t")
            guard fields.count > 1, fields[1].hasSuffix("DB0A"),
                let third = UInt8(fields[1].dropFirst(2).prefix(2), radix: 16)
            else { return false }
            return Int(third) / 16 == lane
        }
    }

    /// Removes what a test left that ended half-way.
    static func cleanUp() throws {
        let all = unfinished.withLock { list in
            defer { list = [] }
            return list
        }
        for fixture in all where Files.exists(fixture.settings.runDirectory) {
            if Files.exists("/sys/class/net/\(fixture.veth)") { try fixture.ip("link del \(fixture.veth)") }
            try NetworkNamespace.remove(at: fixture.outsideNamespace)
            try fixture.service().teardown()
            try Files.removeTree(fixture.settings.runDirectory)
        }
    }

    var prefix: String { "p\(settings.instance)-" }
    private var veth: String { "v\(settings.instance)" }
    var outsideNamespace: String { settings.runDirectory + "/outside" }

    func service(rest: Double = 60, pool: Int = 2, idle: Double = 60, check: Double = 10, resolvers: [String]? = nil)
        throws -> NetworkService
    {
        var options = NetworkService.Options()
        options.restSeconds = rest
        options.poolSize = pool
        options.idleSeconds = idle
        options.checkSeconds = check
        options.portSeconds = 0.05
        // The tests' own sockets stand for the router's.
        options.routerUser = getuid()
        if let resolvers { options.resolverFiles = resolvers }
        return try NetworkService(settings: settings, logger: Logger(label: "network-test"), options: options)
    }

    @discardableResult
    func tool(_ path: String, _ arguments: [String]) throws -> Command.Result {
        try Command(ProcessSpec(path, arguments), timeoutSeconds: 20).run()
    }

    func ip(_ arguments: String, in namespace: String? = nil) throws {
        let words = arguments.split(separator: " ").map(String.init)
        let result =
            if let namespace {
                try tool("/usr/bin/nsenter", ["--net=\(namespace)", "/usr/sbin/ip"] + words)
            } else {
                try tool("/usr/sbin/ip", words)
            }
        try #require(result.status == 0, "ip \(arguments): \(result.errorText)")
    }

    /// A machine beyond the host, with two addresses.
    func makeOutside() throws {
        try NetworkNamespace.create(at: outsideNamespace)
        try ip("link add \(veth) type veth peer name eth0 netns \(outsideNamespace)")
        try Files.writeExisting("/proc/sys/net/ipv6/conf/\(veth)/accept_dad", "0")
        try ip("addr add \(outsideHost4)/24 dev \(veth)")
        try ip("addr add \(outsideHost6)/64 dev \(veth) nodad")
        try ip("link set \(veth) up")
        for line in [
            "link set lo up", "addr add \(outside4)/24 dev eth0", "addr add \(denied4)/24 dev eth0",
            "addr add \(outside6)/64 dev eth0 nodad", "link set eth0 up", "route add default via \(outsideHost4)",
            "-6 route add default via \(outsideHost6)",
        ] { try ip(line, in: outsideNamespace) }
    }

    func removeOutside() throws {
        try ip("link del \(veth)")
        try NetworkNamespace.remove(at: outsideNamespace)
    }

    /// What is left of the platform on the host.
    func leftovers() throws -> [String] {
        let links = try Files.list("/sys/class/net").filter { $0.hasPrefix(prefix) }
        let veths = String(decoding: try tool("/usr/sbin/ip", ["-o", "link"]).output, as: UTF8.self)
            .split(separator: "\n").filter { $0.contains("master \(prefix)") }.map(String.init)
        let tables = String(decoding: try tool("/usr/sbin/nft", ["list", "tables"]).output, as: UTF8.self)
            .split(separator: "\n").filter { $0.hasSuffix(" \(settings.hostName)") }.map(String.init)
        let mounts = try Files.readText("/proc/self/mountinfo")?.split(separator: "\n")
            .filter { $0.contains(settings.runDirectory + "/") }.map(String.init)
        let files = try Files.list(settings.runDirectory)
        return links + veths + tables + (mounts ?? []) + files
    }

    func finish(_ service: NetworkService) throws {
        try service.teardown()
        #expect(try leftovers() == [])
        try Files.removeTree(settings.runDirectory)
    }
}

/// TCP and ICMP from inside namespaces. A socket stays in the namespace in which it was made.
enum Probe {
    static func withAddress<T>(_ text: String, _ port: UInt16, _ body: (UnsafePointer<sockaddr>, socklen_t) -> T) -> T {
        if text.contains(":") {
            var address = sockaddr_in6()
            address.sin6_family = sa_family_t(AF_INET6)
            address.sin6_port = port.bigEndian
            inet_pton(AF_INET6, text, &address.sin6_addr)
            return withUnsafePointer(to: &address) {
                $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                    body($0, socklen_t(MemoryLayout<sockaddr_in6>.size))
                }
            }
        }
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = port.bigEndian
        inet_pton(AF_INET, text, &address.sin_addr)
        return withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { body($0, socklen_t(MemoryLayout<sockaddr_in>.size)) }
        }
    }

    private static func inside<T>(_ namespace: String?, _ body: () throws(SystemError) -> T) throws -> T {
        guard let namespace else { return try body() }
        return try NetworkNamespace.run(in: namespace, body)
    }

    static func socket(_ namespace: String?, _ address: String, _ type: __socket_type, _ proto: Int32 = 0) throws
        -> Int32
    {
        try inside(namespace) { () throws(SystemError) in
            try Syscall.check("socket") {
                Glibc.socket(address.contains(":") ? AF_INET6 : AF_INET, Int32(type.rawValue) | 0o2000000, proto)
            }
        }
    }

    static func listen(_ namespace: String?, _ address: String, _ port: UInt16) throws -> OwnedFD {
        let fd = OwnedFD(try socket(namespace, address, SOCK_STREAM))
        let raw = fd.raw
        var one: Int32 = 1
        setsockopt(raw, SOL_SOCKET, SO_REUSEADDR, &one, 4)
        if address.contains(":") { setsockopt(raw, Int32(IPPROTO_IPV6), IPV6_V6ONLY, &one, 4) }
        try Syscall.check("bind \(address):\(port)") { withAddress(address, port) { bind(raw, $0, $1) } }
        try Syscall.check("listen") { Glibc.listen(raw, 16) }
        return fd
    }

    /// True if the connection is made within the time.
    static func connects(
        _ namespace: String?, _ address: String, _ port: UInt16, from source: String? = nil, milliseconds: Int32 = 700
    )
        throws -> Bool
    {
        let fd = OwnedFD(try socket(namespace, address, SOCK_STREAM))
        let raw = fd.raw
        if let source { try Syscall.check("bind \(source)") { withAddress(source, 0) { bind(raw, $0, $1) } } }
        _ = fcntl(raw, F_SETFL, O_NONBLOCK)
        if withAddress(address, port, { connect(raw, $0, $1) }) == 0 { return true }
        guard errno == EINPROGRESS else { return false }
        var wait = pollfd(fd: raw, events: Int16(POLLOUT), revents: 0)
        guard poll(&wait, 1, milliseconds) == 1 else { return false }
        var error: Int32 = 0
        var size = socklen_t(4)
        getsockopt(raw, SOL_SOCKET, SO_ERROR, &error, &size)
        return error == 0
    }

    /// Who a waiting connection comes from.
    static func peer(of listener: borrowing OwnedFD) throws -> String {
        let raw = listener.raw
        var address = sockaddr_storage()
        var size = socklen_t(MemoryLayout<sockaddr_storage>.size)
        let fd = try Syscall.check("accept") {
            withUnsafeMutablePointer(to: &address) {
                $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { accept(raw, $0, &size) }
            }
        }
        close(fd)
        return withUnsafeBytes(of: &address) { bytes in
            bytes[0] == UInt8(AF_INET) ? IPNetwork.text(Array(bytes[4..<8])) : IPNetwork.text(Array(bytes[8..<24]))
        }
    }

    /// A UDP socket.
    static func receiver(_ namespace: String?, _ address: String, _ port: UInt16) throws -> OwnedFD {
        let fd = OwnedFD(try socket(namespace, address, SOCK_DGRAM))
        let raw = fd.raw
        try Syscall.check("bind \(address):\(port)") { withAddress(address, port) { bind(raw, $0, $1) } }
        return fd
    }

    /// True if a datagram comes within the time.
    static func receives(_ socket: borrowing OwnedFD, milliseconds: Int32 = 700) -> Bool {
        let raw = socket.raw
        var wait = pollfd(fd: raw, events: Int16(POLLIN), revents: 0)
        guard poll(&wait, 1, milliseconds) == 1 else { return false }
        var byte: UInt8 = 0
        return recv(raw, &byte, 1, 0) >= 0
    }

    static func send(_ namespace: String?, _ address: String, _ port: UInt16, from source: String) throws {
        let fd = try receiver(namespace, source, 0)
        let raw = fd.raw
        try Syscall.check("sendto") { withAddress(address, port) { sendto(raw, "x", 1, 0, $0, $1) } }
    }

    /// Sends a datagram and waits for any answer.
    static func answers(
        _ namespace: String, _ address: String, _ port: UInt16, _ bytes: [UInt8], proto: Int32 = 0,
        milliseconds: Int32 = 700
    )
        throws -> Bool
    {
        let fd = OwnedFD(try socket(namespace, address, SOCK_DGRAM, proto))
        let raw = fd.raw
        _ = withAddress(address, port) { sendto(raw, bytes, bytes.count, 0, $0, $1) }
        var wait = pollfd(fd: raw, events: Int16(POLLIN), revents: 0)
        guard poll(&wait, 1, milliseconds) == 1 else { return false }
        var buffer = [UInt8](repeating: 0, count: 2048)
        return recv(raw, &buffer, buffer.count, 0) > 0
    }

    /// The response code of a name server's answer to a question for `name`, an address of the Internet; nil without one.
    static func responseCode(_ namespace: String, _ server: String, name: String) throws -> UInt8? {
        let labels = name.split(separator: ".").flatMap { [UInt8($0.utf8.count)] + Array($0.utf8) }
        let query: [UInt8] = [0, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0] + labels + [0, 0, 1, 0, 1]
        let fd = OwnedFD(try socket(namespace, server, SOCK_DGRAM))
        let raw = fd.raw
        _ = withAddress(server, 53) { sendto(raw, query, query.count, 0, $0, $1) }
        var wait = pollfd(fd: raw, events: Int16(POLLIN), revents: 0)
        guard poll(&wait, 1, 700) == 1 else { return nil }
        var buffer = [UInt8](repeating: 0, count: 2048)
        return recv(raw, &buffer, buffer.count, 0) >= 12 ? buffer[3] & 15 : nil
    }

    /// Answers one question after the other with "no such name", until the socket is shut.
    static func denyNames(on raw: Int32) {
        var buffer = [UInt8](repeating: 0, count: 2048)
        while true {
            var address = sockaddr_in()
            var size = socklen_t(MemoryLayout<sockaddr_in>.size)
            let stop = withUnsafeMutablePointer(to: &address) {
                $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { sender in
                    let count = recvfrom(raw, &buffer, buffer.count, 0, sender, &size)
                    guard count >= 12 else { return true }
                    buffer[2] |= 0x80
                    buffer[3] = 0x83
                    sendto(raw, buffer, count, 0, sender, size)
                    return false
                }
            }
            if stop { return }
        }
    }

    static func pings(_ namespace: String, _ address: String) throws -> Bool {
        let v6 = address.contains(":")
        return try answers(
            namespace, address, 0, [v6 ? 128 : 8, 0, 0, 0, 0, 0, 0, 1], proto: v6 ? 58 : 1)
    }
}

/// Waits for a condition, at most `seconds`.
func eventually(_ seconds: Double = 10, _ condition: () throws -> Bool) rethrows -> Bool {
    let deadline = Monotonic.now() + seconds
    while Monotonic.now() < deadline {
        if try condition() { return true }
        usleep(20_000)
    }
    return try condition()
}

/// Runs a task's work on threads that may block.
final class NetworkTestExecutor: TaskExecutor {
    func enqueue(_ job: consuming ExecutorJob) {
        let job = UnownedJob(job)
        Thread.start("network-test") { job.runSynchronously(on: self.asUnownedTaskExecutor()) }
    }
}
