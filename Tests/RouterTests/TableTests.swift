import Domain
import Glibc
import OS
import Synchronization
import Testing

@testable import Router

extension SocketTests {
    @Suite struct TableTests {
        /// Opens a connection and reads the backend's name.
        private func ask(_ port: UInt16) throws -> String { try Socket(connect: port).readLine() }

        @Test func allAddressesMeansBothFamilies() async throws {
            try await blocking {
                for address in ["0.0.0.0", "::", "0:0::0"] {
                    let listener = try ListeningSocket.open(address: address, port: 0)
                    let port = try portOf(listener.raw)
                    for ip in ["127.0.0.1", "::1"] { _ = try Socket(connect: port, ip: ip) }
                }
                let one = try ListeningSocket.open(address: "::1", port: 0)
                let port = try portOf(one.raw)
                _ = try Socket(connect: port, ip: "::1")
                #expect(throws: SystemError.self) { _ = try Socket(connect: port) }
            }
        }

        @Test func connectionsAreSpreadEvenly() async throws {
            try await withRouter { bench in
                let servers = try (1...5).map { try Server.named("web.\($0)") }
                let port = try freePort()
                bench.paasd.publish(
                    bench.table(1, [Bench.route(.random(), port: port, servers.map { Bench.backend($0.port) })]))
                try bench.paasd.waitForRevision(1)
                var counts: [String: Int] = [:]
                for i in 0..<50 {
                    counts[try ask(port), default: 0] += 1
                    if i == 4 { #expect(counts.count == 5) }
                }
                #expect(counts.values.sorted() == [10, 10, 10, 10, 10])
            }
        }

        @Test func affinityKeepsAClientOnOneBackend() async throws {
            try await withRouter { bench in
                let servers = try (1...4).map { try Server.named("web.\($0)") }
                let port = try freePort()
                bench.paasd.publish(
                    bench.table(
                        1,
                        [Bench.route(.random(), port: port, affinity: .source, servers.map { Bench.backend($0.port) })])
                )
                try bench.paasd.waitForRevision(1)
                #expect(Set(try (0..<12).map { _ in try ask(port) }).count == 1)
            }
        }

        @Test func aBackendThatRefusesIsPassedOver() async throws {
            try await withRouter { bench in
                let good = try Server.named("good")
                let dead = try freePort(), port = try freePort()
                bench.paasd.publish(
                    bench.table(
                        1, [Bench.route(.random(), port: port, [Bench.backend(dead), Bench.backend(good.port)])]))
                try bench.paasd.waitForRevision(1)
                for _ in 0..<20 { #expect(try ask(port) == "good") }
                #expect(good.accepted.load(ordering: .relaxed) == 20)
            }
        }

        /// An address that swallows the connect: its time runs out, then another backend answers.
        @Test func aConnectThatHangsIsTriedElsewhere() async throws {
            try await withRouter { bench in
                let good = try Server.named("good")
                let full = try FullListener()
                let port = try freePort()
                bench.paasd.publish(
                    bench.table(
                        1,
                        [
                            Bench.route(
                                .random(), port: port, connect: 300,
                                [Bench.backend(full.port), Bench.backend(good.port)])
                        ]))
                try bench.paasd.waitForRevision(1)
                let start = Monotonic.now()
                for _ in 0..<4 { #expect(try ask(port) == "good") }
                #expect(Monotonic.now() - start < 5)
            }
        }

        @Test func whenNobodyAnswersTheClientIsToldAtOnce() async throws {
            try await withRouter { bench in
                let dead = try freePort(), port = try freePort(), empty = try freePort()
                bench.paasd.publish(
                    bench.table(
                        1,
                        [
                            Bench.route(.random(), port: port, [Bench.backend(dead)]),
                            Bench.route(.random(), port: empty, []),
                        ]))
                try bench.paasd.waitForRevision(1)
                for port in [port, empty] {
                    let start = Monotonic.now()
                    do {
                        #expect(try Socket(connect: port).readAll().isEmpty)
                    } catch let error as SystemError { #expect(error.errno == ECONNRESET) }
                    #expect(Monotonic.now() - start < 1)
                }
            }
        }

        @Test func aRemovedBackendGetsNothingNewAndItsFlowsAreCounted() async throws {
            try await withRouter { bench in
                let old = try Server.named("old"), new = try Server.named("new")
                let binding = BindingID.random(), instance = InstanceID.random()
                let port = try freePort()
                bench.paasd.publish(
                    bench.table(1, [Bench.route(binding, port: port, [Bench.backend(old.port, instance)])]))
                try bench.paasd.waitForRevision(1)
                var first: Socket? = try Socket(connect: port)
                #expect(try first?.readLine() == "old")
                let second = try Socket(connect: port)
                #expect(try second.readLine() == "old")

                bench.paasd.publish(bench.table(2, [Bench.route(binding, port: port, [Bench.backend(new.port)])]))
                try bench.paasd.waitForAck { $0.mark.revision == 2 && $0.draining == [instance: 2] }
                for _ in 0..<10 { #expect(try ask(port) == "new") }
                try second.send("still\n")
                #expect(try second.readLine() == "still")
                first = nil
                try bench.paasd.waitForAck { $0.mark.revision == 2 && $0.draining == [instance: 1] }
                second.endWriting()
                #expect(try second.readText().isEmpty)
                let ended = Monotonic.now()
                try bench.paasd.waitForAck { $0.mark.revision == 2 && $0.draining.isEmpty }
                #expect(Monotonic.now() - ended < 0.2)
            }
        }

        @Test func oneBadPortFailsAlone() async throws {
            try await withRouter { bench in
                let server = try Server.named("web.1")
                let good = try freePort(), bad = try freePort()
                let goodID = BindingID.random(), badID = BindingID.random(), udpID = BindingID.random()
                let thief = try Server(port: bad) { try $0.send("thief\n") }
                var udp = Bench.route(udpID, port: try freePort(), [])
                udp.protocol = .udp
                bench.paasd.publish(
                    bench.table(
                        1,
                        [
                            Bench.route(goodID, port: good, [Bench.backend(server.port)]),
                            Bench.route(badID, port: bad, [Bench.backend(server.port)]), udp,
                        ]))
                try bench.paasd.waitForAck { ack in
                    Set(ack.failed) == [
                        .init(binding: badID, reason: "port \(bad): address already in use"),
                        .init(binding: udpID, reason: "protocol udp is not served by this router"),
                    ]
                }
                #expect(try ask(good) == "web.1")
                thief.close()
                try bench.paasd.waitForAck { $0.failed.map(\.binding) == [udpID] }
                #expect(try ask(bad) == "web.1")
            }
        }

        @Test func portsMoveAndSwapWithoutTouchingFlows() async throws {
            try await withRouter { bench in
                let a = try Server.named("a"), b = try Server.named("b")
                let ports = [try freePort(), try freePort()]
                let ids = [BindingID.random(), BindingID.random()]
                func table(_ revision: Int64, _ first: UInt16, _ second: UInt16) -> RoutingTable {
                    bench.table(
                        revision,
                        [
                            Bench.route(ids[0], port: first, [Bench.backend(a.port)]),
                            Bench.route(ids[1], port: second, [Bench.backend(b.port)]),
                        ])
                }
                bench.paasd.publish(table(1, ports[0], ports[1]))
                try bench.paasd.waitForRevision(1)
                let flow = try Socket(connect: ports[0])
                #expect(try flow.readLine() == "a")
                bench.paasd.publish(table(2, ports[1], ports[0]))
                try bench.paasd.waitForRevision(2)
                #expect(try ask(ports[0]) == "b")
                #expect(try ask(ports[1]) == "a")
                try flow.send("on\n")
                #expect(try flow.readLine() == "on")
                #expect(bench.paasd.acknowledgements.allSatisfy { $0.failed.isEmpty })

                bench.paasd.publish(bench.table(3, []))
                try bench.paasd.waitForRevision(3)
                #expect(throws: SystemError.self) { _ = try Socket(connect: ports[0]) }
                try flow.send("and on\n")
                #expect(try flow.readLine() == "and on")
            }
        }

        @Test func changesUnderLoadLoseNothing() async throws {
            try await withRouter { bench in
                let servers = try (1...6).map { try Server.named("web.\($0)") }
                let backends = servers.map { Bench.backend($0.port) }
                let binding = BindingID.random()
                let port = try freePort()
                bench.paasd.publish(bench.table(1, [Bench.route(binding, port: port, [backends[0]])]))
                try bench.paasd.waitForRevision(1)

                let stop = Atomic2()
                let requests = Atomic<Int>(0), failures = Atomic<Int>(0), running = Atomic<Int>(0)
                for _ in 0..<4 {
                    running.wrappingAdd(1, ordering: .relaxed)
                    Thread.start("test-load") {
                        while !stop.isSet {
                            do {
                                let socket = try Socket(connect: port)
                                guard try socket.readLine().hasPrefix("web.") else { throw Failure("no name") }
                                try socket.send("ping\n")
                                guard try socket.readLine() == "ping" else { throw Failure("no echo") }
                                requests.wrappingAdd(1, ordering: .relaxed)
                            } catch { failures.wrappingAdd(1, ordering: .relaxed) }
                        }
                        running.wrappingSubtract(1, ordering: .relaxed)
                    }
                }
                var random = SeededRandom(9)
                for revision in Int64(2)...100 {
                    let chosen = backends.filter { _ in Bool.random(using: &random) }
                    var routes = [Bench.route(binding, port: port, chosen.isEmpty ? [backends[1]] : chosen)]
                    if revision % 7 == 0 { routes.append(Bench.route(.random(), port: try freePort(), [backends[0]])) }
                    bench.paasd.publish(bench.table(revision, routes))
                    if revision % 10 == 0 { bench.paasd.dropStreams() }
                    try bench.paasd.waitForRevision(revision)
                }
                stop.set()
                try eventually("the clients end") { running.load(ordering: .relaxed) == 0 }
                #expect(failures.load(ordering: .relaxed) == 0)
                #expect(requests.load(ordering: .relaxed) > 200)
            }
        }

        @Test func whatCannotBeUsedLeadsToANewSnapshot() async throws {
            try await withRouter { bench in
                let server = try Server.named("web.1")
                let port = try freePort()
                let route = Bench.route(.random(), port: port, [Bench.backend(server.port)])
                bench.paasd.publish(bench.table(5, [route]))
                try bench.paasd.waitForRevision(5)
                for rubbish in ["{", "{\"unknown\":{}}", "\u{0}"] {
                    let before = bench.paasd.streamsOpened
                    bench.paasd.sendRaw(rubbish)
                    try eventually("a new stream") { bench.paasd.streamsOpened > before }
                    #expect(try ask(port) == "web.1")
                }
                // An older revision of the same table is refused; another table is taken.
                let stale = FakePaaSDTable.line(bench.table(4, []))
                let before = bench.paasd.streamsOpened
                bench.paasd.sendRaw(stale)
                try eventually("a new stream") { bench.paasd.streamsOpened > before }
                #expect(try ask(port) == "web.1")
                var other = bench.table(1, [route])
                other.mark.tableID = "table-2"
                bench.paasd.publish(other)
                try bench.paasd.waitForAck { $0.mark.tableID == "table-2" && $0.mark.revision == 1 }
                #expect(try ask(port) == "web.1")
            }
        }

        /// Out of descriptors: what is served goes on, who comes waits in the kernel's queue and is served later.
        @Test func atTheLimitOfDescriptorsConnectionsWait() async throws {
            try await withRouter(configure: { $0.descriptorLimit = 144 + 1 + 2 * 10 }) { bench in
                let server = try Server.named("web.1")
                let port = try freePort()
                bench.paasd.publish(
                    bench.table(1, [Bench.route(.random(), port: port, [Bench.backend(server.port)])]))
                try bench.paasd.waitForRevision(1)
                var clients: [Int32] = []
                defer { clients.forEach { close($0) } }
                for _ in 0..<15 { clients.append(try Socket(connect: port).take()) }
                // Of 20 descriptors a binding gets four fifths.
                try eventually("eight are served") { server.accepted.load(ordering: .relaxed) == 8 }
                usleep(250_000)
                #expect(server.accepted.load(ordering: .relaxed) == 8)
                for fd in clients[..<8] { close(fd) }
                clients.removeFirst(8)
                try eventually("the others are served") { server.accepted.load(ordering: .relaxed) == 15 }
                #expect(try Socket(connect: port).readLine() == "web.1")
            }
        }

        @Test func whoHogsOnePortShutsNoOtherOff() async throws {
            try await withRouter(configure: { $0.descriptorLimit = 144 + 2 + 2 * 20 }) { bench in
                let hogged = try Server.named("hogged"), other = try Server.named("other")
                let ports = [try freePort(), try freePort()]
                bench.paasd.publish(
                    bench.table(
                        1,
                        [
                            Bench.route(.random(), port: ports[0], [Bench.backend(hogged.port)]),
                            Bench.route(.random(), port: ports[1], [Bench.backend(other.port)]),
                        ]))
                try bench.paasd.waitForRevision(1)
                var clients: [Int32] = []
                defer { clients.forEach { close($0) } }
                for _ in 0..<60 { clients.append(try Socket(connect: ports[0]).take()) }
                try eventually("the port takes no more") { hogged.accepted.load(ordering: .relaxed) == 16 }
                for _ in 0..<5 { #expect(try ask(ports[1]) == "other") }
                let held = [try Socket(connect: ports[1]).take(), try Socket(connect: ports[1]).take()]
                defer { held.forEach { close($0) } }
                try eventually("several at once") { other.accepted.load(ordering: .relaxed) == 7 }
                #expect(hogged.accepted.load(ordering: .relaxed) == 16)
            }
        }

        /// Without descriptors for a moment: no backend is to blame, who waits is served, and no loop spins.
        @Test func whatTheHostLacksForAMomentTurnsNobodyAway() async throws {
            let metrics = try freePort()
            try await withRouter(configure: { $0.metricsAddress = "127.0.0.1:\(metrics)" }) { bench in
                let server = try Server.named("web.1")
                let port = try freePort()
                bench.paasd.publish(
                    bench.table(1, [Bench.route(.random(), port: port, [Bench.backend(server.port)])]))
                try bench.paasd.waitForRevision(1)
                let client = try Unconnected(), scrape = try Unconnected()
                let before = try routerTime()
                try withoutDescriptors(spare: 1) {
                    try client.connect(port)
                    try scrape.connect(metrics)
                    usleep(700_000)
                }
                #expect(try routerTime() - before < 0.3)
                #expect(try client.socket.readLine() == "web.1")
                try scrape.socket.send("GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
                let text = try scrape.socket.readText()
                #expect(text.contains("paas_router_connect_failures_total{app=\"shop\",binding=\"web\"} 0\n"))
            }
        }

        @Test func aServerThatListensOnOneAddressFamilyIsReached() async throws {
            try await withRouter { bench in
                let six = try Server.named("six", ip: "::1")
                let port = try freePort()
                bench.paasd.publish(bench.table(1, [Bench.route(.random(), port: port, [Bench.backend(six.port)])]))
                try bench.paasd.waitForRevision(1)
                for _ in 0..<5 { #expect(try ask(port) == "six") }
            }
        }

        /// A table whose outdated copy can't even be removed is served, but not acknowledged until it is on disk.
        @Test func aTableThatCannotBeKeptIsAcknowledgedLater() async throws {
            try await withRouter(configure: { $0.copyRetryMilliseconds = 100 }) { bench in
                let copy = bench.configuration.copyPath
                let server = try Server.named("web.1")
                let port = try freePort()
                try Files.makeDirectories(copy + "/in-the-way")
                bench.paasd.publish(
                    bench.table(1, [Bench.route(.random(), port: port, [Bench.backend(server.port)])]))
                try eventually("it is served") { (try? ask(port)) == "web.1" }
                usleep(300_000)
                #expect(bench.paasd.acknowledgements.isEmpty)
                try Files.removeTree(copy)
                try bench.paasd.waitForRevision(1)
                #expect(try Files.read(copy, limit: 1 << 20) != nil)
            }
        }

        /// Trouble is told, with all that happened meanwhile, once; what is as it should be is not.
        @Test func whatBecameOfFlowsIsTold() async throws {
            try await withRouter(configure: { $0.flowReportMilliseconds = 100 }) { bench in
                let server = try Server.named("web.1")
                let good = try freePort(), bad = try freePort(), dead = try freePort()
                let binding = BindingID.random()
                bench.paasd.publish(
                    bench.table(
                        1,
                        [
                            Bench.route(.random(), port: good, [Bench.backend(server.port)]),
                            Bench.route(binding, port: bad, [Bench.backend(dead, name: "web.7")]),
                        ]))
                try bench.paasd.waitForRevision(1)
                bench.paasd.refuseReports(true)
                for port in [good, bad, bad] {
                    do { _ = try Socket(connect: port).readLine() } catch is SystemError {}
                }
                usleep(300_000)
                #expect(bench.paasd.reports.isEmpty)
                bench.paasd.refuseReports(false)
                try eventually("it is told") { !bench.paasd.reports.isEmpty }
                usleep(300_000)
                #expect(
                    bench.paasd.reports == [
                        FlowReport(
                            binding: binding, port: "web", endings: ["connect_failed": 2], connectFailures: 2,
                            lastConnectError: "web.7: connection refused")
                    ])
            }
        }

        /// Also where what goes wrong all the time would fill every report.
        @Test func everyBindingHasItsTurnInTheReports() async throws {
            try await withRouter(configure: {
                $0.flowReportMilliseconds = 50
                $0.flowReportLimit = 1
            }) { bench in
                let dead = try freePort()
                let ports = try (0..<3).map { _ in try freePort() }
                let routes = ports.map { Bench.route(.random(), port: $0, [Bench.backend(dead)]) }
                bench.paasd.publish(bench.table(1, routes))
                try bench.paasd.waitForRevision(1)
                try eventually("all are told") {
                    for port in ports { do { _ = try Socket(connect: port).readLine() } catch is SystemError {} }
                    return Set(bench.paasd.reports.map(\.binding)).count == routes.count
                }
            }
        }

        /// More than one burst of connections.
        @Test func allThatWaitAtAPortAreTakenBeforeItCloses() async throws {
            try await blocking {
                let shared = WorkerShared(
                    loops: 1, control: Mailbox(), budget: DescriptorBudget(limit: 1000, reserve: 0), tableWait: 10_000,
                    skipTime: 1000, halfClosedIdle: 1000, logger: quietLogger)
                guard let any = SocketAddress(ip: "127.0.0.1", port: 0) else { throw Failure("address") }
                let raw = try ListeningSocket.open(any, dualStack: false).release()
                let route = RouteShared(.random(), loops: 1)
                var clients: [Int32] = []
                defer { clients.forEach { close($0) } }
                let port = try portOf(raw)
                for _ in 0..<100 { clients.append(try connected(port)) }
                for message: WorkerMessage in [.listen(raw, route), .stopListening, .stop] {
                    shared.mailboxes[0].send(message)
                }
                try Worker(number: 0, shared: shared).run()
                #expect(route.endings[FlowEnding.stopped.rawValue].value.load(ordering: .relaxed) == clients.count)
            }
        }

        @Test func acknowledgementsAreRepeatedAndNumbered() async throws {
            try await withRouter(configure: { $0.acknowledgementMilliseconds = 50 }) { bench in
                bench.paasd.publish(bench.table(1, []))
                try eventually("repetitions") { bench.paasd.acknowledgements.count >= 4 }
                let all = bench.paasd.acknowledgements
                #expect(Set(all.map(\.start)).count == 1 && all[0].start.count == 36)
                #expect(zip(all, all.dropFirst()).allSatisfy { $0.sequence < $1.sequence } && all[0].sequence >= 1)
            }
        }

        @Test func aPortThatCannotBeWatchedIsTold() async throws {
            try await blocking {
                let shared = WorkerShared(
                    loops: 1, control: Mailbox(), budget: DescriptorBudget(limit: 100, reserve: 0), tableWait: 1000,
                    skipTime: 1000, halfClosedIdle: 1000, logger: quietLogger)
                let ended = Atomic2()
                Thread.start("test-worker") {
                    do { try Worker(number: 0, shared: shared).run() } catch { Issue.record("\(error)") }
                    ended.set()
                }
                // epoll takes no directory.
                let folder = try OwnedFD.open("/tmp", O_RDONLY)
                let binding = BindingID.random()
                shared.mailboxes[0].send(.listen(folder.release(), RouteShared(binding, loops: 1)))
                var told: [BindingID] = []
                try eventually("it is told") {
                    for case .notListening(let id, let reason) in shared.control.take(reusing: []) {
                        #expect(reason.contains("operation not permitted"))
                        told.append(id)
                    }
                    return !told.isEmpty
                }
                #expect(told == [binding])
                shared.mailboxes[0].send(.stop)
                try eventually("the loop ends") { ended.isSet }
            }
        }

        @Test func aSilentPaaSDIsLeftAndFollowedAgain() async throws {
            try await withRouter(configure: { $0.silenceMilliseconds = 900 }) { bench in
                try eventually("the first stream") { bench.paasd.streamsOpened == 1 }
                usleep(1_500_000)
                #expect(bench.paasd.streamsOpened == 1, "keep-alives are enough")
                bench.paasd.setKeepAlive(false)
                try eventually("another stream") { bench.paasd.streamsOpened >= 2 }
            }
        }
    }
}

/// A descriptor that is connected to this port.
private func connected(_ port: UInt16) throws -> Int32 {
    let new = try Unconnected()
    try new.connect(port)
    return dup(new.socket.fd.raw)
}

/// A listening socket whose queue is full: a connect to it hangs.
private final class FullListener {
    let port: UInt16
    private let listener: OwnedFD
    private var filling: [Int32] = []

    init() throws {
        guard let any = SocketAddress(ip: "127.0.0.1", port: 0) else { throw Failure("address") }
        listener = OwnedFD(try Syscall.check("socket") { socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0) })
        let raw = listener.raw
        try Syscall.check("bind") { any.withPointer { bind(raw, $0, $1) } }
        try Syscall.check("listen") { listen(raw, 0) }
        port = try portOf(raw)
        guard let address = SocketAddress(ip: "127.0.0.1", port: port) else { throw Failure("address") }
        for _ in 0..<4 {
            let fd = socket(AF_INET, Int32(SOCK_STREAM.rawValue | SOCK_NONBLOCK.rawValue), 0)
            _ = address.withPointer { connect(fd, $0, $1) }
            filling.append(fd)
        }
        usleep(20_000)
    }

    deinit { filling.forEach { close($0) } }
}

/// A socket that exists before it is connected.
private struct Unconnected: ~Copyable {
    let socket: Socket

    init() throws {
        socket = Socket(
            OwnedFD(
                try Syscall.check("socket") {
                    Glibc.socket(AF_INET, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
                }))
    }

    func connect(_ port: UInt16) throws {
        guard let address = SocketAddress(ip: "127.0.0.1", port: port) else { throw Failure("address") }
        let raw = socket.fd.raw
        try Syscall.check("connect") { address.withPointer { Glibc.connect(raw, $0, $1) } }
    }
}

/// Runs the body while this process can open only `spare` more descriptors.
private func withoutDescriptors(spare: Int, _ body: () throws -> Void) throws {
    var old = rlimit()
    try Syscall.check("getrlimit") { getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &old) }
    let null = try OwnedFD.open("/dev/null", O_RDONLY)
    var fillers: [Int32] = []
    defer {
        fillers.forEach { close($0) }
        setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &old)
    }
    let highest = try Files.list("/proc/self/fd").compactMap { Int32($0) }.max() ?? 0
    var low = rlimit(rlim_cur: rlim_t(highest + 8), rlim_max: old.rlim_max)
    try Syscall.check("setrlimit") { setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &low) }
    while true {
        let filler = dup(null.raw)
        if filler < 0 { break }
        fillers.append(filler)
    }
    for _ in 0..<spare { if let last = fillers.popLast() { close(last) } }
    try body()
}

/// Seconds that the routers' threads have computed.
private func routerTime() throws -> Double {
    var ticks = 0
    for thread in try Files.list("/proc/self/task") {
        let folder = "/proc/self/task/" + thread
        // A thread may end meanwhile.
        guard try Files.readText(folder + "/comm")?.hasPrefix("router-") == true,
            let fields = try Files.readText(folder + "/stat")?.split(separator: ")").last?.split(separator: " "),
            fields.count > 12
        else { continue }
        ticks += (Int(fields[11]) ?? 0) + (Int(fields[12]) ?? 0)
    }
    return Double(ticks) / Double(sysconf(Int32(_SC_CLK_TCK)))
}
