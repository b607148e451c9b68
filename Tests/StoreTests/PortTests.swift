import Domain
import Postgres
import Store
import Testing

@Suite(.serialized) struct PortTests {
    private func put(
        _ h: Harness, _ app: App, _ request: PortRequest, range: ClosedRange<UInt16> = Harness.range
    ) async throws -> (port: PortBinding, created: Bool) {
        try await h.store.putPort(app.id, request, range: range, actor: h.admin, now: h.now())
    }

    @Test func numbersAreGivenFromTheRangeOnly() async throws {
        try await Harness.run { h in
            let (a, b) = (try await h.app("alpha"), try await h.app("beta"))
            let first = try await put(h, a, PortRequest(name: "sip", protocol: .udp))
            #expect(first.created && first.port.publicPort == 20000 && first.port.targetPort == 5000)
            #expect(first.port.processType == "web" && first.port.drainSeconds == 30)
            let again = try await put(h, a, PortRequest(name: "sip", protocol: .udp))
            #expect(!again.created && again.port == first.port)
            let second = try await put(h, a, PortRequest(name: "rtp", protocol: .udp))
            #expect(second.port.publicPort == 20001 && second.port.targetPort == 5001)
            #expect(
                try await put(h, a, PortRequest(name: "api", protocol: .tcp, processType: "api")).port.targetPort
                    == 5000)
            // The same number for another transport of the same app; nothing of it for others.
            let tcp = try await put(h, a, PortRequest(name: "sip-tcp", protocol: .tcp, publicPort: 20000))
            #expect(tcp.port.publicPort == 20000)
            for `protocol` in [PortBinding.BindingProtocol.tcp, .udp, .sctp] {
                let taken = try await refused(.conflict) {
                    try await put(h, b, PortRequest(name: "x", protocol: `protocol`, publicPort: 20000))
                }
                #expect(!taken.message.contains("alpha"))
            }
            try await refused(.conflict) {
                try await put(h, a, PortRequest(name: "x", protocol: .tcp, publicPort: 20000))
            }
            let denied = try await refused(.forbidden) {
                try await put(h, b, PortRequest(name: "dns", protocol: .udp, publicPort: 53))
            }
            #expect(denied.message.contains("not granted"))
            for different in [
                PortRequest(name: "sip", protocol: .tcp), PortRequest(name: "sip", protocol: .udp, processType: "api"),
                PortRequest(name: "sip", protocol: .udp, targetPort: 7),
                PortRequest(name: "sip", protocol: .udp, publicPort: 20009),
            ] { try await refused(.conflict) { try await put(h, a, different) } }
            let changed = try await put(
                h, a, PortRequest(name: "sip", protocol: .udp, affinity: .source, drainSeconds: 5))
            #expect(!changed.created && changed.port.affinity == .source && changed.port.drainSeconds == 5)
            try await refused(.invalid) { try await put(h, a, PortRequest(name: "Bad", protocol: .tcp)) }
            try await refused(.invalid) {
                try await put(h, a, PortRequest(name: "x", protocol: .tcp, drainSeconds: -1))
            }
            try await h.store.deletePort(a.id, name: "sip", actor: h.admin, now: h.now())
            try await refused(.notFound) {
                try await h.store.deletePort(a.id, name: "sip", actor: h.admin, now: h.now())
            }
            #expect(try await h.store.ports(a.id).map(\.name) == ["rtp", "api", "sip-tcp"])
        }
    }

    @Test func typesMustExistOnceThereIsARelease() async throws {
        try await Harness.run { h in
            let app = try await h.app("alpha", noPorts: true)
            try await h.deploy(app, ["dns": "a", "worker": "b"])
            let which = try await refused(.invalid) { try await put(h, app, PortRequest(name: "x", protocol: .udp)) }
            #expect(which.message.contains("dns, worker"))
            try await refused(.invalid) {
                try await put(h, app, PortRequest(name: "x", protocol: .udp, processType: "web"))
            }
            let made = try await put(h, app, PortRequest(name: "x", protocol: .udp, processType: "dns"))
            #expect(made.port.processType == "dns")
        }
    }

    @Test func parallelCallersGetDistinctNumbersUntilTheRangeIsUsedUp() async throws {
        try await Harness.run { h in
            let apps = [try await h.app("alpha"), try await h.app("beta"), try await h.app("gamma")]
            let range: ClosedRange<UInt16> = 20000...20019
            let ports = try await withThrowingTaskGroup(of: UInt16.self) { group in
                for n in 0..<20 {
                    group.addTask {
                        try await h.store.putPort(
                            apps[n % 3].id, PortRequest(name: "p\(n)", protocol: .tcp), range: range, actor: h.admin,
                            now: h.now()
                        ).port.publicPort
                    }
                }
                return try await group.reduce(into: []) { $0.append($1) }
            }
            #expect(ports.sorted() == Array(range))
            try await refused(.exhausted) {
                try await put(h, apps[0], PortRequest(name: "more", protocol: .tcp), range: range)
            }
            try await h.store.deletePort(apps[1].id, name: "p1", actor: h.admin, now: h.now())
            let freed = try await put(h, apps[0], PortRequest(name: "more", protocol: .tcp), range: range)
            #expect(!ports.filter { $0 != freed.port.publicPort }.contains(freed.port.publicPort))
            #expect(range.contains(freed.port.publicPort))
        }
    }

    @Test func bindingsLeadToTheirApps() async throws {
        try await Harness.run { h in
            let apps = [try await h.app("alpha"), try await h.app("beta")]
            var expected: [BindingID: AppID] = [:]
            for (number, app) in apps.enumerated() {
                try await h.deploy(app, slug: number + 1, ["web": "a"])
                for port in try await h.store.ports(app.id) { expected[port.id] = app.id }
            }
            #expect(expected.count == 2)
            #expect(try await h.store.apps(of: Array(expected.keys) + [.random()]) == expected)
        }
    }

    @Test func theTableHasWhatIsUp() async throws {
        try await Harness.run { h in
            let app = try await h.app("alpha")
            try await h.deploy(app, ["web": "a", "worker": "b"])
            let empty = try await h.store.routingTable(bootID: "boot-1")
            #expect(empty.routes.count == 1 && empty.routes[0].backends.isEmpty && empty.mark.bootID == "boot-1")
            let (one, first) = try await h.up(app, address: "10.0.0.5")
            let (two, second) = try await h.up(app, "web", 2, address: "10.0.0.6")
            _ = try await h.up(app, "worker")
            _ = try await h.plan(app, "web", 3)
            #expect(empty.mark.revision < first && first < second)
            let table = try await h.store.routingTable(bootID: "boot-1")
            #expect(table.routes[0].backends.map(\.instance) == [one.id, two.id].sorted())
            #expect(Set(table.routes[0].backends.map(\.address4)) == ["10.0.0.5", "10.0.0.6"])
            #expect(table.routes[0].backends.allSatisfy { $0.port == 5000 && $0.address6 == "fd00::5" })
            #expect(try await h.store.routingMark(bootID: "boot-1") == table.mark)
            // Saying it again changes nothing.
            #expect(
                try await h.store.markUp(one.id, h.seen(one), epoch: h.epoch, now: h.now()) == table.mark.revision)
            let gone = try await h.store.unroute([one.id], reason: "scale", epoch: h.epoch, now: h.now())
            #expect(gone > table.mark.revision)
            #expect(try await h.store.routingTable(bootID: "boot-1").routes[0].backends.map(\.instance) == [two.id])
            #expect(try await h.store.unroute([one.id], reason: "again", epoch: h.epoch, now: h.now()) == gone)
            try await refused(.conflict) { try await h.store.markUp(one.id, h.seen(one), epoch: h.epoch, now: h.now()) }
            let crash = try await h.store.markCrashed(
                two.id, exitCode: 137, reason: "killed", slotRestarts: 3, nextStartAt: h.now(), epoch: h.epoch,
                now: h.now())
            #expect(crash > gone)
            let snapshot = try #require(try await h.store.snapshot(app.id))
            #expect(snapshot.slots.map(\.restarts) == [3])
            let crashed = try #require(snapshot.instances.first { $0.id == two.id })
            #expect(crashed.state == .crashed && crashed.exitCode == 137 && crashed.unroutedRevision == crash)
            #expect(crashed.pid == 42 && crashed.pidStartTime == 4242 && crashed.bootID == "boot-1")
            try await h.store.setStopAt(one.id, h.now(), epoch: h.epoch)
            try await h.store.markExited(one.id, exitCode: 143, epoch: h.epoch, now: h.now())
            let exited = try #require(try await h.store.processes(app.id).first { $0.id == one.id })
            #expect(exited.state == .exited && exited.unroutedRevision == gone && exited.stopAt != nil)
            try await h.store.removeInstance(one.id, epoch: h.epoch)
            try await h.store.removeInstance(one.id, epoch: h.epoch)
            try await h.store.resetSlot(app.id, type: "web", index: 2, epoch: h.epoch)
            #expect(try await h.store.snapshot(app.id)?.slots.isEmpty == true)
            let kinds = try await h.kinds("alpha")
            #expect(
                kinds.contains("process.up") && kinds.contains("process.crashed") && kinds.contains("process.stopped"))
        }
    }

    @Test func acknowledgementsAreRememberedPerTable() async throws {
        try await Harness.run { h in
            let app = try await h.app("alpha")
            let port = try await put(h, app, PortRequest(name: "sip", protocol: .udp)).port
            let mark = try await h.store.routingTable(bootID: "boot").mark
            func acknowledge(_ revision: Int64, table: String? = nil, failed: [String] = []) async throws {
                try await h.store.recordAcknowledgement(
                    router: "local-1",
                    RouterAcknowledgement(
                        mark: RoutingTable.Mark(tableID: table ?? mark.tableID, revision: revision, bootID: "boot"),
                        draining: [:], failed: failed.map { .init(binding: port.id, reason: $0) }), now: h.now())
            }
            try await acknowledge(5, failed: ["address in use"])
            var seen = try #require(try await h.store.ports(app.id).first)
            #expect(seen.state == .failed && seen.reason == "local-1: address in use")
            try await acknowledge(4, failed: ["address in use"])
            #expect(try await h.store.routers().map(\.revision) == [5])
            try await acknowledge(6)
            seen = try #require(try await h.store.ports(app.id).first)
            #expect(seen.state == .active && seen.reason == nil)
            #expect(try await h.kinds("alpha") == ["app.created", "port.added", "port.failed", "port.active"])
            try await acknowledge(900, table: "another")
            #expect(try await h.store.routers().map(\.revision) == [-1])
            try await acknowledge(6, failed: ["address in use"])
            #expect(try await h.store.routers().map(\.revision) == [6])
            // Left over from another name of the platform.
            try await h.store.forgetLocalRouters(except: "local-1", epoch: h.epoch, now: h.now())
            #expect(try await h.store.routers().count == 1)
            try await h.store.forgetLocalRouters(except: "local-2", epoch: h.epoch, now: h.now())
            #expect(try await h.store.routers().isEmpty)
            #expect(try await h.store.ports(app.id).first?.state == .active)
        }
    }

    @Test func repeatedAndLateAcknowledgementsAreNotWritten() async throws {
        try await Harness.run { h in
            let mark = try await h.store.routingMark(bootID: "boot")
            let start = h.now()
            func acknowledge(_ sequence: Int64, revision: Int64, start run: String = "a", after seconds: Double)
                async throws
            {
                try await h.store.recordAcknowledgement(
                    router: "r1",
                    RouterAcknowledgement(
                        mark: RoutingTable.Mark(tableID: mark.tableID, revision: revision, bootID: "boot"),
                        draining: [:], failed: [], start: run, sequence: sequence),
                    now: start.adding(seconds: seconds))
            }
            func seen() async throws -> Double? {
                try await h.store.routers().first?.seenAt.seconds(since: start)
            }
            try await acknowledge(1, revision: 5, after: 0)
            try await acknowledge(2, revision: 5, after: 10)
            #expect(try await seen() == 0)
            try await acknowledge(4, revision: 6, after: 11)
            #expect(try await seen() == 11)
            try await acknowledge(3, revision: 5, after: 12)
            #expect(try await seen() == 11)
            try await acknowledge(5, revision: 6, after: 41)
            #expect(try await seen() == 41)
            // Another run of the router counts from the beginning.
            try await acknowledge(1, revision: 6, start: "b", after: 42)
            #expect(try await seen() == 42)
        }
    }

    /// Whoever asks for any number gets one that works, as long as there is one.
    @Test func aNumberThatARouterCouldNotOpenIsAvoided() async throws {
        try await Harness.run { h in
            let app = try await h.app("alpha")
            let range: ClosedRange<UInt16> = 20000...20001
            let port = try await put(h, app, PortRequest(name: "a", protocol: .udp), range: range).port
            let mark = try await h.store.routingMark(bootID: "boot")
            try await h.store.recordAcknowledgement(
                router: "r1",
                RouterAcknowledgement(
                    mark: mark, draining: [:], failed: [.init(binding: port.id, reason: "address in use")]),
                now: h.now())
            try await h.store.deletePort(app.id, name: "a", actor: h.admin, now: h.now())
            let next = try await put(h, app, PortRequest(name: "b", protocol: .udp), range: range).port
            #expect(port.publicPort == 20000 && next.publicPort == 20001)
            let last = try await put(h, app, PortRequest(name: "c", protocol: .udp), range: range).port
            #expect(last.publicPort == 20000)
        }
    }

    @Test func whatWasRoutedIsRemembered() async throws {
        try await Harness.run { h in
            let app = try await h.app("alpha")
            try await h.deploy(app, ["web": "a", "worker": "b"])
            let (web, _) = try await h.up(app)
            let (worker, _) = try await h.up(app, "worker")
            func routed() async throws -> Set<InstanceID> {
                Set(try await h.store.processes(app.id).filter(\.wasRouted).map(\.id))
            }
            #expect(try await routed() == [web.id])
            _ = try await put(h, app, PortRequest(name: "work", protocol: .tcp, processType: "worker"))
            try await h.store.deletePort(app.id, name: "web", actor: h.admin, now: h.now())
            #expect(try await routed() == [web.id, worker.id])
        }
    }

    @Test func replacingMarksWhatRuns() async throws {
        try await Harness.run { h in
            let app = try await h.app("alpha")
            try await h.deploy(app, ["web": "a", "worker": "b"])
            let (one, _) = try await h.up(app)
            let (two, _) = try await h.up(app, "web", 2)
            let operation = try await h.store.replaceProcesses(
                app.id, matching: "web.2", actor: h.admin, now: h.now())
            #expect(operation.kind == .replaceProcess && operation.state == .starting)
            func marked() async throws -> Set<InstanceID> {
                Set(try await h.store.processes(app.id).filter(\.replaceRequested).map(\.id))
            }
            #expect(try await marked() == [two.id])
            _ = try await h.store.replaceProcesses(app.id, matching: "web", actor: h.admin, now: h.now())
            #expect(try await marked() == [one.id, two.id])
            let none = try await h.store.replaceProcesses(app.id, matching: "worker", actor: h.admin, now: h.now())
            #expect(none.state == .completed)
            for bad in ["web.9", "nope", "web.x", "web.", "'", "web.1.1"] {
                try await refused(.notFound) {
                    try await h.store.replaceProcesses(app.id, matching: bad, actor: h.admin, now: h.now())
                }
            }
        }
    }

    @Test func aNewPortReplacesWhatWasStartedWithoutIt() async throws {
        try await Harness.run { h in
            let app = try await h.app("alpha")
            try await h.deploy(app, ["smtp": "a", "worker": "b"])
            let (smtp, _) = try await h.up(app, "smtp", 1)
            let (worker, _) = try await h.up(app, "worker", 1)
            func asked() async throws -> Set<InstanceID> {
                Set(try await h.store.processes(app.id).filter(\.replaceRequested).map(\.id))
            }
            #expect(try await asked() == [])
            _ = try await put(h, app, PortRequest(name: "smtp", protocol: .tcp, processType: "smtp"))
            #expect(try await asked() == [smtp.id])
            _ = try await put(h, app, PortRequest(name: "work", protocol: .tcp, processType: "worker"))
            #expect(try await asked() == [smtp.id, worker.id])
        }
    }

    @Test func changingAPortReplacesNothing() async throws {
        try await Harness.run { h in
            let app = try await h.app("alpha")
            _ = try await put(h, app, PortRequest(name: "smtp", protocol: .tcp, processType: "smtp"))
            try await h.deploy(app, ["smtp": "a"])
            _ = try await h.up(app, "smtp", 1)
            let changed = try await put(
                h, app, PortRequest(name: "smtp", protocol: .tcp, processType: "smtp", drainSeconds: 3))
            #expect(!changed.created && changed.port.drainSeconds == 3)
            #expect(try await h.store.processes(app.id).allSatisfy { !$0.replaceRequested })
        }
    }
}
