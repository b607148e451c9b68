import Domain
import Synchronization

@testable import Scheduler

/// A whole life of one app in virtual time, from a seed: users, crashing processes, slow and absent routers, power cuts,
/// and a scheduler that dies between any two actions. Rules that may never be broken are checked at every step.
final class Simulation {
    struct Router {
        var id: String
        var table: RoutingTable
        var isConnected = true
        var awaySince: Timestamp?
        /// Flows to instances that its table no longer has, and when they end.
        var flows: [InstanceID: Timestamp] = [:]
        var nextPoll = Timestamp.at(0)
    }

    let store = FakeStore()
    let engine: FakeEngine
    let broken = Mutex<[String]>([])
    var random: SeededGenerator
    var now = Timestamp.at(0)
    var routers: [Router] = []
    var registry = RouterRegistry()
    var upRevisions: [InstanceID: Int64] = [:]
    var baseRevision: Int64 = 0
    var startFailures: [InstanceID: String] = [:]
    var nextID = 0
    var trace: [String] = []
    let settings = SchedulerSettings(bootTimeoutSeconds: 20)

    init(seed: UInt64) {
        random = SeededGenerator(state: seed)
        engine = FakeEngine()
        store.change { state in
            state.ports = [.tcp("web")]
            state.formation = ["web": FormationEntry(quantity: 2), "worker": FormationEntry(quantity: 1)]
        }
        for name in ["r1", "r2"] {
            routers.append(Router(id: name, table: store.read { FakeStore.table($0) }))
            registry.connected(name, now: now)
        }
        restartScheduler()
    }

    func chance(_ probability: Double) -> Bool { Double.random(in: 0..<1, using: &random) < probability }
    func note(_ text: String) { trace.append("\(now.seconds(since: .at(0))) \(text)") }
    func fail(_ text: String) { broken.withLock { $0.append("\(now.seconds(since: .at(0))): \(text)") } }

    /// A new scheduler knows the store and the engine only.
    func restartScheduler() {
        store.change { $0.epoch += 1 }
        upRevisions = [:]
        startFailures = [:]
        let (table, records) = store.read { (FakeStore.table($0), $0.routers.values.sorted { $0.id < $1.id }) }
        baseRevision = table.mark.revision
        registry = RouterRegistry()
        registry.load(records, tableID: table.mark.tableID, now: now, forgetAfterSeconds: 30)
        for router in routers where router.isConnected { registry.connected(router.id, now: now) }
    }

    // MARK: One step

    func step(calm: Bool) async throws {
        if !calm { disturb() }
        serveRouters(calm: calm)
        try await reconcile(mayDie: !calm)
        now = now.adding(seconds: Double.random(in: 0.05..<(calm ? 2 : 1.5), using: &random))
        engine.advance(to: now)
    }

    private static let commands = [
        "ok", "ok", "ok", "slow 3", "slow 12", "never", "exit 0 1", "exit 4 3", "start-error",
    ]

    private static let phases = ["exit 0 0", "exit 3 0", "exit 20 0", "exit 5 1", "start-error", "exit 90 0"]

    private func disturb() {
        if chance(0.03) {
            let type = chance(0.7) ? "web" : "worker"
            let count = Int.random(in: 0...5, using: &random)
            note("scale \(type)=\(count)")
            _ = store.scale(type, to: count, now: now)
        }
        if chance(0.02) {
            var types = ["web": Self.commands.randomElement(using: &random) ?? "ok"]
            if chance(0.7) { types["worker"] = chance(0.8) ? "ok" : "exit 1 2" }
            if chance(0.5) { types["release"] = Self.phases.randomElement(using: &random) ?? "exit 1 0" }
            let manifest = ReleaseManifest(
                postdeploy: chance(0.5) ? "exit 2 \(chance(0.5) ? 0 : 1)" : nil,
                uptimeSeconds: chance(0.3) ? ["web": 4] : [:])
            note("release v\(store.release(types, manifest: manifest, now: now)) \(types)")
        }
        if chance(0.02) {
            note("replace web.1")
            _ = store.replace("web.1", now: now)
        }
        let running = engine.list().filter { $0.state == .running }
        if chance(0.02), let victim = running.randomElement(using: &random) {
            note("kill \(victim.name) \(victim.id)")
            engine.end(victim.id, code: 137)
        }
        if chance(0.003) {
            note("power cut")
            engine.reboot()
        }
        if chance(0.02) {
            note("scheduler killed")
            restartScheduler()
        }
        for index in routers.indices where chance(0.01) {
            routers[index].isConnected.toggle()
            note("\(routers[index].id) connected: \(routers[index].isConnected)")
            if routers[index].isConnected {
                routers[index].awaySince = nil
                registry.connected(routers[index].id, now: now)
            } else {
                routers[index].awaySince = now
                registry.disconnected(routers[index].id, now: now)
            }
        }
    }

    private func serveRouters(calm: Bool) {
        let table = store.read { FakeStore.table($0) }
        for index in routers.indices {
            if calm && !routers[index].isConnected {
                routers[index].isConnected = true
                routers[index].awaySince = nil
                registry.connected(routers[index].id, now: now)
            }
            guard routers[index].isConnected, now >= routers[index].nextPoll else { continue }
            routers[index].nextPoll = now.adding(seconds: Double.random(in: 0..<1.5, using: &random))
            let before = backends(routers[index].table)
            routers[index].table = table
            for id in before.subtracting(backends(table)).sorted() {
                routers[index].flows[id] = now.adding(seconds: Double.random(in: 0..<50, using: &random))
            }
            routers[index].flows = routers[index].flows.filter { $0.value > now }
            let ack = RouterAcknowledgement(
                mark: table.mark, draining: routers[index].flows.mapValues { _ in 1 }, failed: [])
            _ = registry.acknowledged(routers[index].id, ack, now: now)
            let id = routers[index].id
            let time = now
            store.change {
                $0.routers[id] = RouterRecord(id: id, revision: ack.mark.revision, seenAt: time)
            }
        }
    }

    private func backends(_ table: RoutingTable) -> Set<InstanceID> {
        Set(table.routes.flatMap { $0.backends.map(\.instance) })
    }

    // MARK: The scheduler

    private func performer() -> ActionPerformer {
        let id = Mutex(nextID)
        defer { nextID += 100 }
        return ActionPerformer(
            store: store, engine: engine, faults: NoFaults(), log: QuietLog(), cleanup: RecordedCleanup(),
            epoch: store.read { $0.epoch }, now: { [now] in now },
            makeID: {
                id.withLock {
                    $0 += 1
                    return .number($0)
                }
            }, bootID: engine.state.withLock { $0.bootID })
    }

    private func reconcile(mayDie: Bool) async throws {
        let performer = performer()
        for round in 0..<60 {
            let observed = Dictionary(uniqueKeysWithValues: engine.list().map { ($0.id, $0) })
            let snapshot = try await store.snapshot(App.sample.id)
            let plan = Planner.plan(
                PlannerInput(
                    snapshot: snapshot, observed: observed, bootID: engine.state.withLock { $0.bootID },
                    routers: registry.facts(), upRevisions: upRevisions,
                    baseRevision: baseRevision, startFailures: startFailures, now: now, settings: settings))
            if plan.actions.isEmpty { return }
            for action in plan.actions {
                if mayDie && chance(0.01) {
                    note("scheduler died before \(action)")
                    restartScheduler()
                    return
                }
                try await perform(action, performer, snapshot)
            }
            if round == 59 { fail("no rest: \(plan.actions)") }
        }
    }

    private func perform(_ action: Action, _ performer: ActionPerformer, _ snapshot: AppSnapshot?) async throws {
        let before = servedPlaces()
        check(action, snapshot)
        note("\(action)".prefix(220).description)
        do {
            switch try await performer.perform(action, in: snapshot) {
            case .routed(let id, let revision): upRevisions[id] = revision
            case .rowRemoved(let id):
                upRevisions[id] = nil
                startFailures[id] = nil
            default: break
            }
        } catch {
            guard case .ensure(let id) = action else { throw error }
            startFailures[id] = error.message
        }
        if case .unroute = action {
            let wanted = store.read { $0.formation["web"]?.quantity ?? 0 }
            let lost = before.subtracting(servedPlaces()).filter { $0 <= wanted }
            if !lost.isEmpty && snapshot?.current != nil { fail("places \(lost) no longer served after \(action)") }
        }
        checkRows()
        if case .ensure = action { checkRuns() }
    }

    /// Places of `web` with a running process that every router which counts sends to.
    private func servedPlaces() -> Set<Int> {
        let running = Set(engine.list().filter { $0.state == .running }.map(\.id))
        let up = store.read { $0.instances.filter { $0.type == "web" && $0.state == .up } }
        let counting = routers.filter { !isGivenUp($0) }
        return Set(
            up.filter { row in
                running.contains(row.id) && counting.allSatisfy { backends($0.table).contains(row.id) }
            }.map(\.index))
    }

    private func isGivenUp(_ router: Router) -> Bool {
        router.awaySince.map { now.seconds(since: $0) >= settings.routerPatienceSeconds } ?? false
    }

    // MARK: Rules

    private func check(_ action: Action, _ snapshot: AppSnapshot?) {
        switch action {
        case .stop(let id, _):
            guard let row = snapshot?.instances.first(where: { $0.id == id }), row.state == .stopping else { return }
            // After a restart a router's absence counts from the restart; earlier than that the rule is only stricter.
            for router in routers where !isGivenUp(router) {
                if backends(router.table).contains(id) { fail("\(id) stopped while \(router.id) sends to it") }
                let end = row.since.adding(seconds: 30)
                if router.isConnected, let flow = router.flows[id], flow > now, now < end,
                    router.nextPoll > now, row.upAt != nil, !reportedEmpty(router, id)
                {
                    fail("\(id) stopped with flows on \(router.id)")
                }
            }
        case .remove(let id):
            for router in routers where backends(router.table).contains(id) {
                fail("\(id) removed while \(router.id) may send to it")
            }
        case .ensure(let id):
            guard let row = snapshot?.instances.first(where: { $0.id == id }), row.runKind == nil else { return }
            if let run = store.run(.release, row.release), run.state != .succeeded {
                fail("\(row.name) of v\(row.release) starts while its release phase is \(run.state)")
            }
        default: break
        }
    }

    private func reportedEmpty(_ router: Router, _ id: InstanceID) -> Bool {
        registry.facts().first { $0.id == router.id }.map { ($0.draining?[id] ?? 0) == 0 && $0.draining != nil }
            ?? false
    }

    /// A run has one container ever, and release phases are never beside each other.
    private func checkRuns() {
        for (name, count) in engine.state.withLock({ $0.made }) where count > 1 {
            if ReleaseRun.Kind.allCases.contains(where: { name.hasPrefix($0.rawValue + ".") }) {
                fail("\(name) ran \(count) times")
            }
        }
        let phases = engine.list().filter { $0.name.hasPrefix("release.") && $0.state == .running }
        if phases.count > 1 { fail("release phases beside each other: \(phases.map(\.name))") }
    }

    private func checkRows() {
        let rows = store.read { $0.instances }
        if Set(rows.map(\.id)).count != rows.count { fail("two rows for one container") }
        let known = Set(rows.map(\.id))
        for container in engine.list() where !known.contains(container.id) { fail("\(container.id) has no row") }
        // A place may be held twice only while one takes over from the other.
        for (name, group) in Dictionary(grouping: rows.filter { $0.state == .up }, by: { "\($0.name) v\($0.release)" })
        where group.filter({ !$0.replaceRequested }).count > 1 {
            fail("\(name) is up twice")
        }
    }

    // MARK: The end

    /// What is not as wanted once everything is quiet.
    func unsettled() -> [String] {
        let state = store.read { $0 }
        var wrong: [String] = []
        if let candidate = state.releases.last(where: { $0.state == .pending || $0.state == .rolling }) {
            wrong.append("v\(candidate.version) is still \(candidate.state)")
        }
        let current = state.releases.last { $0.state == .current }
        for (type, entry) in state.formation.sorted(by: { $0.key < $1.key }) {
            let runs = current?.processTypes[type]
            let wanted = runs == nil ? 0 : entry.quantity
            let rows = state.instances.filter { $0.type == type }
            let isHealthy = runs.map { !$0.hasPrefix("exit") && $0 != "never" && $0 != "start-error" } ?? true
            if isHealthy {
                let up = rows.filter { $0.state == .up && $0.release == current?.version }
                if up.map(\.index).sorted() != Array(1..<(wanted + 1)) {
                    wrong.append("\(type): wanted \(wanted), up \(up.map(\.index))")
                }
                if rows.count != up.count { wrong.append("\(type): left over \(rows.filter { $0.state != .up })") }
            }
        }
        for run in state.runs where run.state == .running { wrong.append("\(run.name) is still running") }
        for run in state.runs where run.state == .pending {
            let release = state.releases.first { $0.version == run.version }
            if release?.wasCurrent == true || run.kind == .release { wrong.append("\(run.name) was never begun") }
        }
        let left = state.instances.filter { $0.runKind != nil }
        if !left.isEmpty { wrong.append("rows of runs are left: \(left.map(\.name))") }
        let known = Set(state.instances.map(\.id))
        let orphans = engine.list().filter { !known.contains($0.id) }
        if !orphans.isEmpty { wrong.append("orphans \(orphans.map(\.name))") }
        let open = state.operations.filter { !$0.state.isFinal }
        if !open.isEmpty { wrong.append("operations \(open.map { "\($0.kind.rawValue) \($0.target)" })") }
        return wrong
    }
}
