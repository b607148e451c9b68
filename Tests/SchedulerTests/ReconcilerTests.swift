import Domain
import Synchronization
import Testing

@testable import Scheduler

/// The shell over fakes. One router follows the table and acknowledges each change as it is published.
final class Platform: RoutingPublisher, Sendable {
    let store = FakeStore()
    let engine = FakeEngine()
    let clock = ManualClock()
    let cleanup = RecordedCleanup()
    let changes = Mutex(0)
    let reconciler = Mutex<Reconciler?>(nil)

    init() { store.change { $0.ports = [.tcp("web")] } }

    func tableChanged() { changes.withLock { $0 += 1 } }

    func makeReconciler() -> Reconciler {
        Reconciler(
            store: store, engine: engine, publisher: self, log: QuietLog(), cleanup: cleanup, epoch: 1,
            bootID: "boot", settings: SchedulerSettings(), clock: clock, now: { [clock] in clock.timestamp })
    }

    /// Runs `body` beside the reconciler and a router, then ends both.
    func running(_ body: (Reconciler) async throws -> Void) async throws {
        let reconciler = makeReconciler()
        reconciler.routerConnected("r")
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await reconciler.run() }
            group.addTask {
                var acknowledged: Int64 = 0
                while !Task.isCancelled {
                    let mark = self.store.read { FakeStore.table($0).mark }
                    if mark.revision != acknowledged, self.store.read({ $0.failure == nil }) {
                        acknowledged = mark.revision
                        try await reconciler.acknowledge(
                            router: "r", RouterAcknowledgement(mark: mark, draining: [:], failed: []))
                    }
                    await Task.yield()
                }
            }
            try await body(reconciler)
            group.cancelAll()
            while let result = await group.nextResult() {
                if case .failure(let error) = result, !(error is CancellationError) { throw error }
            }
        }
    }

    /// Waits for a condition, moving the clock along if `seconds` says so.
    func eventually(
        _ what: String, advancing seconds: Double = 0, sourceLocation: SourceLocation = #_sourceLocation,
        _ condition: () -> Bool
    ) async throws {
        let deadline = ContinuousClock.now.advanced(by: .seconds(20))
        while !condition() {
            guard ContinuousClock.now < deadline else {
                Issue.record("never came: \(what); \(store.read { $0.instances })", sourceLocation: sourceLocation)
                throw CancellationError()
            }
            if seconds > 0 {
                clock.advance(seconds: seconds)
                engine.advance(to: clock.timestamp)
            }
            await Task.yield()
        }
    }

    func up(_ type: String = "web") -> [ProcessInstance] {
        store.read { $0.instances.filter { $0.type == type && $0.state == .up } }
    }
}

@Suite("Reconciler", .timeLimit(.minutes(2)))
struct ReconcilerTests {
    @Test("a release comes up, is routed, becomes current; a crash is replaced without the clock moving")
    func life() async throws {
        let platform = Platform()
        try await platform.running { reconciler in
            _ = platform.store.scale("web", to: 12, now: .at(0))
            let version = platform.store.release(["web": "ok"], now: .at(0))
            reconciler.wake(App.sample.id)
            try await platform.eventually("current") { platform.store.releaseState(version) == .current }
            #expect(platform.up().count == 12)
            #expect(platform.changes.withLock { $0 } >= 12)

            let victim = try #require(platform.up().first)
            platform.engine.end(victim.id, code: 9)
            try await platform.eventually("replaced") {
                platform.up().count == 12 && !platform.up().contains { $0.id == victim.id }
            }
            try await platform.eventually("gone") {
                platform.store.read { !$0.instances.contains { $0.id == victim.id } }
            }
            #expect(platform.engine.state.withLock { $0.removed } == [victim.id])
            #expect(platform.clock.timestamp == .at(0))
        }
    }

    @Test("nothing is given up while the engine is away; what happened meanwhile is caught up")
    func engineAway() async throws {
        let platform = Platform()
        try await platform.running { reconciler in
            _ = platform.store.scale("web", to: 2, now: .at(0))
            let version = platform.store.release(["web": "ok"], now: .at(0))
            reconciler.wake(App.sample.id)
            try await platform.eventually("current") { platform.store.releaseState(version) == .current }
            let before = platform.up()
            platform.engine.disconnect()
            try await platform.eventually("engine lost") { !reconciler.state.withLock { $0.engine.isCurrent } }
            reconciler.wake(App.sample.id)
            platform.engine.end(before[0].id, code: 1)
            #expect(platform.up() == before)
            try await platform.eventually("caught up", advancing: 0.1) {
                platform.up().count == 2 && platform.up().map(\.id) != before.map(\.id)
            }
            #expect(platform.up().contains { $0.id == before[1].id })
        }
    }

    @Test("goes on when the database is back")
    func databaseAway() async throws {
        let platform = Platform()
        platform.store.change { $0.failure = PaaSError(.unavailable, "database away") }
        try await platform.running { reconciler in
            _ = platform.store.scale("web", to: 1, now: .at(0))
            let version = platform.store.release(["web": "ok"], now: .at(0))
            reconciler.wake(App.sample.id)
            for _ in 0..<50 {
                platform.clock.advance(seconds: 0.2)
                await Task.yield()
            }
            #expect(platform.up().isEmpty)
            platform.store.change { $0.failure = nil }
            try await platform.eventually("current", advancing: 0.1) {
                platform.store.releaseState(version) == .current
            }
        }
    }

    @Test("ends with stale when another one is in charge")
    func stale() async throws {
        let platform = Platform()
        _ = platform.store.scale("web", to: 1, now: .at(0))
        _ = platform.store.release(["web": "ok"], now: .at(0))
        platform.store.change { $0.epoch = 2 }
        let error = await #expect(throws: PaaSError.self) { try await platform.makeReconciler().run() }
        #expect(error?.code == .stale)
    }

    @Test("a failed rollout tells the last lines, and leaves nothing of a first release")
    func failedRelease() async throws {
        let platform = Platform()
        try await platform.running { reconciler in
            _ = platform.store.scale("web", to: 1, now: .at(0))
            let version = platform.store.release(["web": "start-error"], now: .at(0))
            reconciler.wake(App.sample.id)
            try await platform.eventually("failed") { platform.store.releaseState(version) == .failed }
            try await platform.eventually("empty") { platform.store.read { $0.instances.isEmpty } }
            let output = platform.store.read { $0.releases[0].output }
            #expect(output == "web.1 could not be started: no such slug\nLast lines of web.1:\nlast words")
        }
    }

    @Test("a rollout whose processes can't be started ends, and tells why")
    func neverStarted() async throws {
        let platform = Platform()
        try await platform.running { reconciler in
            _ = platform.store.scale("web", to: 1, now: .at(0))
            let version = platform.store.release(["web": "start-busy"], now: .at(0))
            reconciler.wake(App.sample.id)
            try await platform.eventually("failed", advancing: 0.5) {
                platform.store.releaseState(version) == .failed
            }
            let output = platform.store.read { $0.releases[0].output }
            #expect(output?.hasPrefix("web.1 could not be started within 60 s: the host's disk is full\n") == true)
            try await platform.eventually("empty", advancing: 0.5) { platform.store.read { $0.instances.isEmpty } }
        }
    }

    @Test("a rollout has its time anew from the moment that the engine is back")
    func rolloutAcrossAnOutage() async throws {
        let platform = Platform()
        try await platform.running { reconciler in
            _ = platform.store.scale("web", to: 1, now: .at(0))
            let version = platform.store.release(["web": "start-busy"], now: .at(0))
            reconciler.wake(App.sample.id)
            try await platform.eventually("most of its time is over", advancing: 0.5) {
                platform.clock.timestamp >= .at(50)
            }
            platform.engine.disconnect()
            try await platform.eventually("engine lost") { !reconciler.state.withLock { $0.engine.isCurrent } }
            let lostAt = platform.clock.timestamp
            try await platform.eventually("failed", advancing: 0.5) {
                platform.store.releaseState(version) == .failed
            }
            #expect(platform.clock.timestamp.seconds(since: lostAt) >= 60)
        }
    }

    @Test("a deleted app stops, is cleaned up and goes")
    func delete() async throws {
        let platform = Platform()
        try await platform.running { reconciler in
            _ = platform.store.scale("web", to: 3, now: .at(0))
            let version = platform.store.release(["web": "ok"], now: .at(0))
            reconciler.wake(App.sample.id)
            try await platform.eventually("current") { platform.store.releaseState(version) == .current }
            platform.store.change { $0.app.deleting = true }
            reconciler.wake(App.sample.id)
            try await platform.eventually("removed") { platform.store.read { $0.isRemoved } }
            #expect(platform.cleanup.apps.withLock { $0 } == [App.sample.id])
            #expect(platform.engine.list().isEmpty)
            try await platform.eventually("files removed") {
                platform.cleanup.removed.withLock { $0 } == [RemovedApp(app: App.sample.id, slugs: [.sample])]
            }
        }
    }

    @Test("a deletion that must not wait cuts a stop short that is under way")
    func forcefulDelete() async throws {
        let platform = Platform()
        platform.engine.state.withLock { $0.ignoreSIGTERM = true }
        try await platform.running { reconciler in
            _ = platform.store.scale("web", to: 1, now: .at(0))
            let version = platform.store.release(["web": "ok"], now: .at(0))
            reconciler.wake(App.sample.id)
            try await platform.eventually("current") { platform.store.releaseState(version) == .current }
            platform.store.change { $0.app.deleting = true }
            reconciler.wake(App.sample.id)
            try await platform.eventually("a stop is under way") {
                platform.engine.state.withLock { $0.graces } == [30]
            }
            platform.store.change { $0.app.stopBy = platform.clock.timestamp }
            reconciler.wake(App.sample.id)
            try await platform.eventually("removed") { platform.store.read { $0.isRemoved } }
            #expect(platform.engine.state.withLock { $0.graces } == [30, 0])
        }
    }
}

@Suite("What the shell remembers")
struct MemoryTests {
    @Test("wake-ups during a look make one more")
    func queue() {
        var queue = WorkQueue()
        let app = App.sample.id
        let first = queue.wake(app)
        queue.begin(app)
        let during = [queue.wake(app), queue.wake(app)]
        let again = queue.succeeded(app)
        queue.begin(app)
        let oncemore = queue.succeeded(app)
        let later = queue.wake(app)
        #expect([first] + during + [again, oncemore, later] == [true, false, false, true, false, true])
        let pauses = [queue.failed(app), queue.failed(app), queue.failed(app)]
        #expect(pauses == [0.2, 0.4, 0.8])
    }

    @Test("a container never goes backwards, and what is newer than a list stays")
    func engineView() {
        var view = EngineView()
        let row = ProcessInstance.sample(1, state: .up)
        #expect(view.containers(of: row.app) == nil)
        view.willObserve()
        view.put(row.container())
        _ = view.apply(.list([]))
        #expect(view.containers(of: row.app)?.count == 1)
        _ = view.apply(.changed(row.container(.exited, exitCode: 1)))
        view.put(row.container())
        #expect(view.container(row.id)?.state == .exited)
        view.willObserve()
        _ = view.apply(.list([]))
        #expect(view.containers(of: row.app)?.isEmpty == true)
        view.lost()
        #expect(view.containers(of: row.app) == nil)
    }

    @Test("a build lives until its container has exited")
    func builds() {
        var view = EngineView()
        let app = App.sample.id
        var build = ProcessInstance.sample(1, state: .up).container()
        build.isBuild = true
        #expect(view.apply(.list([build])) == [app])
        #expect(view.buildRuns(of: app) && view.containers(of: app)?.isEmpty == true)
        build.state = .exited
        #expect(view.apply(.changed(build)) == [app] && !view.buildRuns(of: app))
        build.state = .running
        _ = view.apply(.changed(build))
        #expect(view.apply(.removed(build.id)) == [app] && !view.buildRuns(of: app))
        _ = view.apply(.changed(build))
        #expect(view.apply(.list([])) == [app] && !view.buildRuns(of: app))
    }

    @Test("a report that a later one overtook is ignored, also across restarts of the router")
    func lateReports() {
        var registry = RouterRegistry()
        registry.load([], tableID: "t", now: .at(0), forgetAfterSeconds: 30)
        registry.connected("r", now: .at(0))
        func report(_ start: String, _ sequence: Int64, _ revision: Int64, flows: Int) -> Bool {
            let ack = RouterAcknowledgement(
                mark: .init(tableID: "t", revision: revision, bootID: "b"), draining: [.number(1): flows],
                failed: [], start: start, sequence: sequence)
            return registry.acknowledged("r", ack, now: .at(1))
        }
        let taken = [
            report("a", 1, 5, flows: 3), report("a", 3, 5, flows: 1), report("a", 2, 5, flows: 2),
            // A new run of the router may serve an older table than the one before did.
            report("b", 1, 4, flows: 0), report("a", 4, 5, flows: 9), report("b", 1, 4, flows: 8),
        ]
        #expect(taken == [true, true, false, true, false, false])
        #expect(registry.facts() == [RouterFact(id: "r", revision: 4, draining: [.number(1): 0])])
    }

    @Test("routers count from the store, from their connection and from their reports")
    func routers() {
        var registry = RouterRegistry()
        func ack(_ revision: Int64, table: String = "t") -> RouterAcknowledgement {
            RouterAcknowledgement(
                mark: .init(tableID: table, revision: revision, bootID: "b"), draining: [:], failed: [])
        }
        registry.load(
            [RouterRecord(id: "a", revision: 5, seenAt: .at(0))], tableID: "t", now: .at(10), forgetAfterSeconds: 30)
        registry.connected("b", now: .at(10))
        #expect(
            registry.facts() == [
                RouterFact(id: "a", revision: 5, awaySince: .at(10)), RouterFact(id: "b", revision: -1),
            ])
        let taken = [
            registry.acknowledged("b", ack(7), now: .at(11)), registry.acknowledged("b", ack(6), now: .at(11)),
        ]
        #expect(taken == [true, false])
        #expect(registry.facts()[1] == RouterFact(id: "b", revision: 7, draining: [:]))
        _ = registry.acknowledged("b", ack(99, table: "old"), now: .at(12))
        #expect(registry.facts()[1].revision == -1)
        registry.disconnected("b", now: .at(20))
        registry.load([], tableID: "t", now: .at(40), forgetAfterSeconds: 30)
        #expect(registry.facts().map(\.id) == ["b"])
        registry.load([], tableID: "t", now: .at(51), forgetAfterSeconds: 30)
        #expect(registry.facts().isEmpty)
    }
}
