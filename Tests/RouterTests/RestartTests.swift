import Domain
import FoundationEssentials
import Glibc
import OS
import Synchronization
import Testing

@testable import Router

extension SocketTests {
    @Suite struct RestartTests {
        private func ask(_ port: UInt16) throws -> String { try Socket(connect: port).readLine() }

        private func writeCopy(_ bench: Bench, _ table: RoutingTable) throws {
            try Files.writeDurably(bench.configuration.copyPath, try JSONEncoder().encode(table))
        }

        /// Runs a router of its own on the bench's folder.
        private func run(_ bench: Bench, _ body: () throws -> Void) throws {
            let router = try RouterServer(bench.configuration, logger: quietLogger)
            router.start()
            defer {
                router.stop()
                router.wait()
            }
            try body()
        }

        private func withBench(_ body: @escaping @Sendable (Bench) throws -> Void) async throws {
            try await blocking {
                Signals.ignoreBrokenPipes()
                let bench = try Bench()
                do { try body(bench) } catch {
                    try bench.cleanUp()
                    throw error
                }
                try bench.cleanUp()
            }
        }

        @Test func inTheSameBootTheCopyServesWithoutPaaSD() async throws {
            try await withBench { bench in
                bench.paasd.close()
                let server = try Server.named("web.1")
                let port = try freePort()
                try writeCopy(bench, bench.table(3, [Bench.route(.random(), port: port, [Bench.backend(server.port)])]))
                try run(bench) {
                    try eventually("the copy is served") { (try? ask(port)) == "web.1" }
                }
            }
        }

        @Test func afterARebootConnectionsWaitForTheFirstTable() async throws {
            try await withBench { bench in
                let stranger = try Server.named("stranger"), own = try Server.named("own")
                let port = try freePort()
                let binding = BindingID.random()
                try writeCopy(
                    bench,
                    bench.table(3, [Bench.route(binding, port: port, [Bench.backend(stranger.port)])], boot: "boot-0"))
                try run(bench) {
                    try eventually("the port is open") { (try? Socket(connect: port)) != nil }
                    let waiting = try Socket(connect: port)
                    let answer = Mutex("")
                    let raw = try waiting.fd.duplicate().release()
                    Thread.start("test-wait") {
                        let socket = Socket(OwnedFD(raw))
                        do {
                            let line = try socket.readLine()
                            answer.withLock { $0 = line }
                        } catch { answer.withLock { $0 = "\(error)" } }
                    }
                    usleep(300_000)
                    #expect(answer.withLock { $0 }.isEmpty)
                    #expect(bench.paasd.acknowledgements.isEmpty, "a copy is never acknowledged")
                    bench.paasd.publish(bench.table(3, [Bench.route(binding, port: port, [Bench.backend(own.port)])]))
                    try eventually("the one that waited is served") { answer.withLock { $0 } == "own" }
                    #expect(stranger.accepted.load(ordering: .relaxed) == 0)
                }
            }
        }

        @Test func whoWaitsInVainIsTurnedAway() async throws {
            try await withBench { bench in
                let port = try freePort()
                try writeCopy(bench, bench.table(3, [Bench.route(.random(), port: port, [])], boot: "boot-0"))
                var configuration = bench.configuration
                configuration.tableWaitMilliseconds = 500
                configuration.drainMilliseconds = 0
                let router = try RouterServer(configuration, logger: quietLogger)
                router.start()
                defer {
                    router.stop()
                    router.wait()
                }
                try eventually("the port is open") { (try? Socket(connect: port)) != nil }
                let start = Monotonic.now()
                #expect(throws: SystemError("read", errno: ECONNRESET)) { try Socket(connect: port).readAll() }
                #expect(Monotonic.now() - start > 0.4 && Monotonic.now() - start < 2)
            }
        }

        @Test func aDamagedCopyIsNotUsed() async throws {
            try await withBench { bench in
                let server = try Server.named("web.1")
                let port = try freePort()
                try Files.writeDurably(bench.configuration.copyPath, Array("{\"mark\":".utf8))
                try run(bench) {
                    bench.paasd.publish(
                        bench.table(1, [Bench.route(.random(), port: port, [Bench.backend(server.port)])]))
                    try bench.paasd.waitForRevision(1)
                    #expect(try ask(port) == "web.1")
                }
            }
        }

        /// A copy that can't be renewed must not lead a later start to instances that are gone.
        @Test func anOutdatedCopyIsRemovedWhenItCannotBeRenewed() async throws {
            try await withBench { bench in
                // The name of the temporary file beside it is too long.
                let path = bench.folder + "/" + String(repeating: "t", count: 250)
                try OwnedFD.open(path, O_WRONLY | O_CREAT, mode: 0o600)
                    .writeAll(try JSONEncoder().encode(bench.table(1, [])))
                let copy = TableCopy(path: path)
                #expect(try copy.read()?.mark.revision == 1)
                let told = Mutex<TableCopy.Outcome?>(nil)
                var state = TableState()
                _ = state.apply(.snapshot(bench.table(2, [])))
                copy.write(state) { _, outcome in told.withLock { $0 = outcome } }
                try eventually("the failure is told") { told.withLock { $0 } != nil }
                guard case .removed(let reason)? = told.withLock({ $0 }) else { throw Failure("not removed") }
                #expect(reason.contains("File name too long"))
                #expect(!Files.exists(path))
            }
        }

        // MARK: - The real program

        private func spawn(_ bench: Bench, metrics: UInt16) throws -> ChildProcess {
            let folder = Files.parent(try ProgramEnvironment.executablePath())
            let program = folder + "/paas-router"
            guard Files.exists(program) else { throw Failure("\(program) was not built") }
            try Files.writeDurably(bench.folder + "/boot_id", Array(bench.bootID.utf8))
            var spec = ProcessSpec(program, ["serve"])
            spec.environment["PAAS_DATA_DIR"] = bench.folder + "/data"
            spec.environment["PAAS_RUN_DIR"] = bench.folder + "/run"
            spec.environment["PAAS_INSTANCE"] = "rt"
            spec.environment["PAAS_BOOT_ID_FILE"] = bench.folder + "/boot_id"
            spec.environment["PAAS_ROUTER_METRICS_ADDRESS"] = "127.0.0.1:\(metrics)"
            spec.parentDeathSignal = SIGKILL
            return try ChildProcess.spawn(spec, descriptors: [nil, nil, 2])
        }

        private func get(_ port: UInt16, _ path: String) throws -> String {
            let socket = try Socket(connect: port)
            try socket.send("GET \(path) HTTP/1.1\r\nHost: x\r\n\r\n")
            return try socket.readText()
        }

        @Test func killedItServesAgainWithinASecondWithoutPaaSD() async throws {
            try await withBench { bench in
                let server = try Server.named("web.1")
                let port = try freePort(), metrics = try freePort()
                bench.paasd.publish(bench.table(1, [Bench.route(.random(), port: port, [Bench.backend(server.port)])]))
                let first = try spawn(bench, metrics: metrics)
                try bench.paasd.waitForRevision(1)
                // Flows that the kill cuts leave the port in TIME_WAIT or worse.
                let open = try Socket(connect: port)
                #expect(try open.readLine() == "web.1")
                bench.paasd.close()
                try first.signal(SIGKILL)
                _ = try first.wait()
                let start = Monotonic.now()
                let second = try spawn(bench, metrics: metrics)
                try eventually("serving again", seconds: 1) { (try? ask(port)) == "web.1" }
                #expect(Monotonic.now() - start < 1)
                try second.signal(SIGKILL)
                _ = try second.wait()
            }
        }

        @Test func healthMetricsAndAnOrderlyEnd() async throws {
            try await withBench { bench in
                let server = try Server.echo()
                let port = try freePort(), metrics = try freePort()
                bench.paasd.publish(bench.table(7, [Bench.route(.random(), port: port, [Bench.backend(server.port)])]))
                let child = try spawn(bench, metrics: metrics)
                try bench.paasd.waitForRevision(7)
                let client = try Socket(connect: port)
                try client.send("hello\n")
                #expect(try client.readLine() == "hello")
                #expect(try get(metrics, "/healthz").hasPrefix("HTTP/1.1 200 OK\r\n"))
                #expect(try get(metrics, "/other").hasPrefix("HTTP/1.1 404 "))
                let text = try get(metrics, "/metrics")
                for line in [
                    "paas_router_table_revision 7", "paas_router_ports_failed 0", "paas_router_table_connected 1",
                    "paas_router_descriptors_used 3", "paas_router_accept_pauses_total 0",
                    "paas_router_flows_total{app=\"shop\",binding=\"web\"} 1",
                    "paas_router_flows_active{app=\"shop\",binding=\"web\"} 1",
                    "paas_router_bytes_in_total{app=\"shop\",binding=\"web\"} 6",
                    "paas_router_bytes_out_total{app=\"shop\",binding=\"web\"} 6",
                ] { #expect(text.contains(line + "\n")) }

                // Asked to end: it serves on, because nobody else could; with the last flow gone the program ends.
                #expect(try get(metrics, "/readyz").hasPrefix("HTTP/1.1 200 OK\r\n"))
                try child.signal(SIGTERM)
                try eventually("it says so") { try get(metrics, "/readyz").hasPrefix("HTTP/1.1 503 ") }
                #expect(try get(metrics, "/healthz").hasPrefix("HTTP/1.1 200 OK\r\n"))
                let late = try Socket(connect: port)
                try late.send("late\n")
                #expect(try late.readLine() == "late")
                late.endWriting()
                #expect(try late.readText().isEmpty)
                try client.send("more\n")
                #expect(try client.readLine() == "more")
                client.endWriting()
                #expect(try client.readText().isEmpty)
                #expect(try child.wait() == 0)
            }
        }

        /// A supervisor starts the next one when the first has ended: the ports may refuse for that moment only.
        @Test func anOrderlyRestartRefusesForAMomentOnly() async throws {
            try await withBench { bench in
                let server = try Server.named("web.1")
                let port = try freePort(), metrics = try freePort()
                bench.paasd.publish(bench.table(1, [Bench.route(.random(), port: port, [Bench.backend(server.port)])]))
                let first = try spawn(bench, metrics: metrics)
                try bench.paasd.waitForRevision(1)
                // A flow that stays: the router waits for it as long as it may.
                let stays = try Socket(connect: port)
                #expect(try stays.readLine() == "web.1")
                let stop = Atomic2(), ended = Atomic2()
                let refused = Mutex<[Double]>([])
                Thread.start("test-load") {
                    while !stop.isSet {
                        do { _ = try Socket(connect: port).readLine() } catch {
                            refused.withLock { $0.append(Monotonic.now()) }
                        }
                        usleep(5000)
                    }
                    ended.set()
                }
                try first.signal(SIGTERM)
                #expect(try first.wait() == 0)
                // Cut off by the end of the router, and told so.
                #expect(throws: SystemError("read", errno: ECONNRESET)) { try stays.readLine() }
                let second = try spawn(bench, metrics: metrics)
                try eventually("serving again") { (try? ask(port)) == "web.1" }
                stop.set()
                try eventually("the load ends") { ended.isSet }
                let times = refused.withLock { $0 }
                #expect((times.last ?? 0) - (times.first ?? 0) < 1)
                try second.signal(SIGKILL)
                _ = try second.wait()
            }
        }

        @Test func withoutATableItIsHealthyAndNotReady() async throws {
            try await withBench { bench in
                bench.paasd.close()
                let metrics = try freePort()
                let child = try spawn(bench, metrics: metrics)
                try eventually("it is healthy") { (try? get(metrics, "/healthz"))?.hasPrefix("HTTP/1.1 200 ") == true }
                #expect(try get(metrics, "/readyz").hasPrefix("HTTP/1.1 503 "))
                #expect(try get(metrics, "/metrics").contains("paas_router_table_connected 0\n"))
                try child.signal(SIGKILL)
                _ = try child.wait()
            }
        }

        @Test func wrongSettingsAreNamed() async throws {
            try await withBench { bench in
                var configuration = bench.configuration
                configuration.address = "example.com"
                #expect(throws: PaaSError.self) { try RouterServer(configuration, logger: quietLogger) }
                configuration = bench.configuration
                configuration.metricsAddress = "localhost:1"
                #expect(throws: PaaSError.self) { try RouterServer(configuration, logger: quietLogger) }
            }
        }
    }
}
