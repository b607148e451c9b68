import Domain
import Testing

@testable import Scheduler

/// One app at second 1000, whose containers match its rows unless a test says otherwise.
struct Scene {
    var rows: [ProcessInstance] = []
    var formation: Formation = ["web": FormationEntry(quantity: 1)]
    var current: Release? = .sample(1, .current)
    var candidate: Release?
    var ports: [PortBinding] = [.tcp("web")]
    var slots: [AppSnapshot.Slot] = []
    var operations: [Operation] = []
    var runs: [ReleaseRun] = []
    var bootID: String? = "boot"
    var deleting = false
    var stopBy: Double?
    var containers: [ContainerObservation]?
    var routers: [RouterFact] = [RouterFact(id: "r", revision: 100, draining: [:])]
    var upRevisions: [InstanceID: Int64] = [:]
    var engineSince: Double?
    var busy: Set<InstanceID> = []
    var stopping: [InstanceID: Timestamp] = [:]
    var startFailures: [InstanceID: String] = [:]
    var startErrors: [InstanceID: String] = [:]
    var hasActiveBuild = false
    var buildRuns = false
    var now = 1000.0

    func plan() -> Plan {
        var app = App.sample
        app.deleting = deleting
        app.stopBy = stopBy.map { .at($0) }
        let snapshot = AppSnapshot(
            app: app, formation: formation, current: current, candidate: candidate, ports: ports, instances: rows,
            slots: slots, operations: operations, runs: runs, hasActiveBuild: hasActiveBuild)
        let seen =
            containers
            ?? rows.compactMap { row in
                switch row.state {
                case .planned: nil
                case .starting: row.container(ready: false)
                case .crashed, .exited: row.container(.exited)
                default: row.container()
                }
            }
        return Planner.plan(
            PlannerInput(
                snapshot: snapshot, observed: Dictionary(uniqueKeysWithValues: seen.map { ($0.id, $0) }),
                bootID: bootID, engineSince: engineSince.map { .at($0) }, buildRuns: buildRuns, routers: routers,
                upRevisions: upRevisions, baseRevision: 1, busy: busy, stopping: stopping,
                startFailures: startFailures, startErrors: startErrors, now: .at(now)))
    }
}

@Suite("Containers and rows")
struct ContainerRuleTests {
    @Test("nothing is planned while the engine is away")
    func engineAway() {
        let snapshot = AppSnapshot(
            app: .sample, formation: [:], current: nil, candidate: nil, ports: [],
            instances: [.sample(1, state: .up)], slots: [], operations: [])
        #expect(Planner.plan(PlannerInput(snapshot: snapshot, observed: nil, now: .at(0))) == Plan())
    }

    @Test("a planned row without container is started under the same id")
    func ensuresPlanned() {
        #expect(Scene(rows: [.sample(1, state: .planned)]).plan().actions == [.ensure(.number(1))])
    }

    @Test("a start under way is not asked for again")
    func busy() {
        #expect(Scene(rows: [.sample(1, state: .planned)], busy: [.number(1)]).plan().actions == [])
    }

    @Test("rows catch up with running containers")
    func catchesUp() {
        let planned = ProcessInstance.sample(1, state: .planned)
        #expect(
            Scene(rows: [planned], containers: [planned.container()]).plan().actions
                == [.markStarting(.number(1), planned.container())])
        let starting = ProcessInstance.sample(1, state: .starting, since: 990)
        #expect(
            Scene(rows: [starting], containers: [starting.container()]).plan().actions
                == [.markUp(.number(1), starting.container())])
    }

    @Test("a container that is gone or of another boot is lost, which is no crash")
    func lost() {
        let row = ProcessInstance.sample(1, state: .up)
        for containers in [[], [row.container(bootID: "other")]] {
            let actions = Scene(rows: [row], containers: containers).plan().actions
            #expect(actions == [.unroute([.number(1)], reason: "lost: its container is gone")])
        }
        var reused = row.container()
        reused.pidStartTime = 77
        #expect(Scene(rows: [row], containers: [reused]).plan().actions.count == 1)
    }

    @Test("a container without a row is stopped, then removed")
    func orphan() {
        let row = ProcessInstance.sample(9, state: .up)
        #expect(
            Scene(formation: [:], containers: [row.container()]).plan().actions
                == [.stop(.number(9), graceSeconds: 30)])
        #expect(Scene(formation: [:], containers: [row.container(.exited)]).plan().actions == [.remove(.number(9))])
    }

    @Test(
        "a crash tells its reason and sets the next start",
        arguments: [
            (Int32(3), false, 0, "exited with status 3", 1000.0), (137, false, 2, "killed by signal 9", 1000),
            (137, true, 3, "out of memory (limit 256 MiB)", 1001), (0, false, 9, "exited with status 0", 1060),
        ])
    func crash(code: Int32, oom: Bool, before: Int, reason: String, next: Double) {
        let row = ProcessInstance.sample(1, state: .up, since: 900)
        let slots =
            before == 0
            ? [] : [AppSnapshot.Slot(type: "web", index: 1, release: 1, restarts: before, nextStartAt: .at(0))]
        let plan = Scene(
            rows: [row], slots: slots,
            containers: [row.container(.exited, exitCode: code, outOfMemory: oom)]
        ).plan()
        #expect(
            plan.actions == [
                .markCrashed(
                    .number(1), exitCode: code, reason: reason, restarts: before + 1, nextStartAt: .at(next))
            ])
    }

    @Test("a crashed process is replaced at once, or when its pause is over")
    func replacement() {
        let row = ProcessInstance.sample(1, state: .crashed, unrouted: 2)
        var scene = Scene(
            rows: [row],
            slots: [.init(type: "web", index: 1, release: 1, restarts: 4, nextStartAt: .at(1001))])
        #expect(scene.plan() == Plan(wakeAt: .at(1001)))
        scene.now = 1001
        #expect(scene.plan().actions == [.create([.init(type: "web", index: 1, release: 1, restarts: 4)])])
    }

    @Test("a process that is up for five minutes starts afresh")
    func stable() {
        let slots = [AppSnapshot.Slot(type: "web", index: 1, release: 1, restarts: 4, nextStartAt: .at(0))]
        let row = ProcessInstance.sample(1, state: .up, since: 900)
        #expect(Scene(rows: [row], slots: slots).plan() == Plan(wakeAt: .at(1200)))
        #expect(Scene(rows: [row], slots: slots, now: 1200).plan().actions == [.resetSlot(type: "web", index: 1)])
    }

    @Test("what the engine refuses to start counts as a crash")
    func startFailure() {
        let scene = Scene(rows: [.sample(1, state: .planned)], startFailures: [.number(1): "no slug"])
        #expect(
            scene.plan().actions == [
                .markCrashed(
                    .number(1), exitCode: nil, reason: "could not be started: no slug", restarts: 1,
                    nextStartAt: .at(1000))
            ])
    }
}

@Suite("Stopping")
struct StopRuleTests {
    private let row = {
        var row = ProcessInstance.sample(1, state: .stopping, since: 990, upAt: 900, unrouted: 7)
        row.stopAt = .at(1020)
        return row
    }()

    private func scene(_ routers: [RouterFact], now: Double = 1000) -> Scene {
        Scene(rows: [row], formation: [:], containers: [row.container()], routers: routers, now: now)
    }

    @Test("the drain begins when every router has taken it out")
    func stopAt() {
        var scene = scene([RouterFact(id: "a", revision: 6, draining: [:])])
        scene.rows[0].stopAt = nil
        #expect(scene.plan() == Plan())
        scene.routers = [RouterFact(id: "a", revision: 7, draining: [.number(1): 1])]
        #expect(scene.plan().actions == [.setStopAt(.number(1), .at(1030))])
    }

    @Test("waits for every router, also past the drain")
    func acknowledged() {
        let late = [RouterFact(id: "a", revision: 7, draining: [:]), RouterFact(id: "b", revision: 6, draining: [:])]
        #expect(scene(late).plan().actions == [])
        #expect(scene(late, now: 1030).plan().actions == [])
    }

    @Test("stops at once when no flow is left, else at the end of the drain")
    func flows() {
        let stop = [Action.stop(.number(1), graceSeconds: 30)]
        #expect(scene([RouterFact(id: "a", revision: 7, draining: [:])]).plan().actions == stop)
        let flowing = [RouterFact(id: "a", revision: 7, draining: [.number(1): 2])]
        #expect(scene(flowing).plan() == Plan(wakeAt: .at(1020)))
        #expect(scene(flowing, now: 1020).plan().actions == stop)
        #expect(scene([RouterFact(id: "a", revision: 7)]).plan() == Plan(wakeAt: .at(1020)))
    }

    @Test("a router that is away for 30 s no longer delays the stop, but the removal")
    func absent() {
        let away = [RouterFact(id: "a", revision: 3, awaySince: .at(980))]
        #expect(scene(away).plan() == Plan(wakeAt: .at(1010)))
        #expect(scene(away, now: 1010).plan().actions == [.stop(.number(1), graceSeconds: 30)])
        let gone = ProcessInstance.sample(1, state: .exited, unrouted: 7)
        var later = Scene(rows: [gone], formation: [:], routers: away, now: 5000)
        #expect(later.plan().actions == [])
        later.routers = [RouterFact(id: "a", revision: 7)]
        #expect(later.plan().actions == [.remove(.number(1))])
        later.containers = []
        #expect(later.plan().actions == [.removeInstance(.number(1))])
    }

    @Test("a process that was never routed is stopped without drain")
    func noPorts() {
        var scene = scene([RouterFact(id: "a", revision: 0)])
        scene.rows[0].wasRouted = false
        #expect(scene.plan().actions == [.stop(.number(1), graceSeconds: 30)])
    }

    @Test("one whose last port was removed still has its flows drained")
    func portRemoved() {
        var scene = scene([RouterFact(id: "a", revision: 6, draining: [:])])
        scene.ports = []
        #expect(scene.plan().actions == [])
        scene.routers = [RouterFact(id: "a", revision: 7, draining: [.number(1): 1])]
        #expect(scene.plan() == Plan(wakeAt: .at(1020)))
    }

    @Test("a drain that seems to end far in the future was set before the clock was put back")
    func clockPutBack() {
        let flowing = [RouterFact(id: "a", revision: 7, draining: [.number(1): 2])]
        #expect(scene(flowing, now: -9000).plan().actions == [.stop(.number(1), graceSeconds: 30)])
    }

    @Test("a clock that is put back a little, or a port that changes, cuts no drain short")
    func drainIsKept() {
        var scene = scene([RouterFact(id: "a", revision: 7, draining: [.number(1): 2])], now: 900)
        #expect(scene.plan() == Plan(wakeAt: .at(1020)))
        scene.rows[0].stopAt = .at(3000)
        scene.ports = [.tcp("web", drain: 0)]
        #expect(scene.plan() == Plan(wakeAt: .at(3000)))
    }

    @Test("the exit is recorded")
    func exit() {
        var scene = scene([])
        scene.containers = [row.container(.exited, exitCode: 143)]
        #expect(scene.plan().actions == [.markExited(.number(1), exitCode: 143)])
    }
}

@Suite("Scaling and replacing")
struct ScaleRuleTests {
    @Test("new places are filled lowest first")
    func up() {
        let scene = Scene(
            rows: [.sample(2, index: 2, state: .up)], formation: ["web": FormationEntry(quantity: 4)])
        #expect(
            scene.plan().actions == [
                .create([1, 3, 4].map { .init(type: "web", index: $0, release: 1) })
            ])
    }

    @Test("the highest places are emptied")
    func down() {
        let scene = Scene(rows: (1...3).map { .sample($0, index: $0, state: .up) })
        #expect(scene.plan().actions == [.unroute([.number(2), .number(3)], reason: "scaled in")])
    }

    @Test("a scale is completed when as many serve as wanted, no more and no fewer")
    func operation() {
        let operation = Operation(
            id: .number(50), kind: .scale, app: App.sample.id, target: "x", startedAt: .at(990))
        var scene = Scene(rows: [.sample(1, state: .up)], operations: [operation])
        #expect(scene.plan().actions == [.finishOperation(.number(50), state: .completed, error: nil)])
        scene.upRevisions = [.number(1): 101]
        #expect(scene.plan().actions == [])
        scene.now = 1170
        guard case .finishOperation(_, .failed, let error) = scene.plan().actions.first else {
            Issue.record("not failed: \(scene.plan())")
            return
        }
        #expect(error?.message.contains("0 of 1 processes are up after 180 s") == true)
        scene.rows.append(.sample(2, index: 2, state: .planned))
        scene.formation["web"] = FormationEntry(quantity: 2)
        scene.startErrors = [.number(2): "the disk is full"]
        guard case .finishOperation(_, .failed, let reason) = scene.plan().actions.first else {
            Issue.record("not failed: \(scene.plan())")
            return
        }
        #expect(reason?.message.contains("; web.2 could not be started: the disk is full") == true)
    }

    @Test("an operation is about its own process types only")
    func scope() {
        func operation(_ kind: Operation.Kind, _ scope: [String]) -> Operation {
            Operation(
                id: .number(50), kind: kind, app: App.sample.id, target: "x", scope: scope, startedAt: .at(990))
        }
        // worker.1 crashes again and again, web.2 is being replaced.
        var crashed = ProcessInstance.sample(3, "worker", state: .crashed)
        crashed.reason = "exited with status 1"
        var replaced = ProcessInstance.sample(2, index: 2, state: .up)
        replaced.replaceRequested = true
        var scene = Scene(
            rows: [.sample(1, state: .up), replaced, .sample(4, index: 2, state: .starting, since: 999), crashed],
            formation: ["web": FormationEntry(quantity: 2), "worker": FormationEntry(quantity: 1)],
            current: .sample(1, .current, types: ["web": "ok", "worker": "exit"]),
            slots: [.init(type: "worker", index: 1, release: 1, restarts: 7, nextStartAt: .at(1050))])
        scene.operations = [operation(.replaceProcess, ["web.1"])]
        #expect(scene.plan().actions == [.finishOperation(.number(50), state: .completed, error: nil)])
        scene.operations = [operation(.replaceProcess, ["web.2"])]
        #expect(scene.plan().actions == [])
        scene.operations = [operation(.scale, ["web"])]
        #expect(scene.plan().actions == [.setProgress(.number(50), 0.5)])
        scene.rows.removeAll { $0.index == 2 }
        scene.formation["web"] = FormationEntry(quantity: 1)
        #expect(scene.plan().actions == [.finishOperation(.number(50), state: .completed, error: nil)])
        scene.operations = [operation(.scale, ["worker"])]
        guard case .finishOperation(_, .failed, let error) = scene.plan().actions.first else {
            Issue.record("not failed: \(scene.plan())")
            return
        }
        #expect(error?.message.contains("worker.1 exited with status 1") == true)
    }

    @Test("a pause after crashes that seems longer than any is over: the clock was put back")
    func pauseAfterClockPutBack() {
        let scene = Scene(
            rows: [.sample(1, state: .crashed, unrouted: 2)],
            slots: [.init(type: "web", index: 1, release: 1, restarts: 9, nextStartAt: .at(5000))])
        #expect(scene.plan().actions == [.create([.init(type: "web", index: 1, release: 1, restarts: 9)])])
    }

    @Test("an app is not removed while a build of it lives")
    func deleteDuringBuild() {
        var scene = Scene(deleting: true)
        scene.hasActiveBuild = true
        #expect(scene.plan().actions == [])
        scene.hasActiveBuild = false
        scene.buildRuns = true
        #expect(scene.plan().actions == [])
        scene.buildRuns = false
        #expect(scene.plan().actions == [.removeApp(operations: [])])
    }

    @Test("a process to be replaced leaves after its successor serves")
    func replace() {
        var old = ProcessInstance.sample(1, state: .up)
        old.replaceRequested = true
        #expect(Scene(rows: [old]).plan().actions == [.create([.init(type: "web", index: 1, release: 1)])])
        let new = ProcessInstance.sample(2, state: .up)
        var scene = Scene(rows: [old, new], upRevisions: [.number(2): 101])
        #expect(scene.plan().actions == [])
        scene.upRevisions = [.number(2): 100]
        #expect(scene.plan().actions == [.unroute([.number(1)], reason: "replaced")])
    }

    @Test("an app being deleted stops everything, then is removed")
    func delete() {
        let operation = Operation(
            id: .number(50), kind: .deleteApp, app: App.sample.id, target: "x", startedAt: .at(990))
        var scene = Scene(rows: [.sample(1, state: .up)], operations: [operation], deleting: true)
        #expect(scene.plan().actions == [.unroute([.number(1)], reason: "the app is being deleted")])
        scene.rows = []
        #expect(scene.plan().actions == [.removeApp(operations: [.number(50)])])
    }

    @Test("a deletion with a limit waits for flows, routers and SIGTERM no longer than that")
    func deleteBy() {
        var row = ProcessInstance.sample(1, state: .stopping, since: 990, upAt: 900, unrouted: 101)
        row.stopAt = .at(1020)
        var scene = Scene(rows: [row], deleting: true)
        #expect(scene.plan().actions == [])
        scene.stopBy = 1010
        #expect(scene.plan().actions == [])
        #expect(scene.plan().wakeAt == .at(1010))
        scene.now = 1010
        #expect(scene.plan().actions == [.stop(.number(1), graceSeconds: 0)])
        // What has no flows gets what is left of the time.
        row.upAt = nil
        scene.rows = [row]
        scene.now = 1000
        #expect(scene.plan().actions == [.stop(.number(1), graceSeconds: 10)])
        // A stop under way is cut short once, and only by that.
        scene.busy = [.number(1)]
        scene.stopping = [.number(1): .at(1029)]
        #expect(scene.plan().actions == [.stop(.number(1), graceSeconds: 10)])
        scene.stopping = [.number(1): .at(1010)]
        scene.now = 1001.5
        #expect(scene.plan().actions == [])
        scene.stopping = [.number(1): .at(1029)]
        scene.stopBy = nil
        #expect(scene.plan().actions == [])
    }
}

@Suite("Rollouts")
struct RolloutRuleTests {
    private func rolling(_ rows: [ProcessInstance], quantity: Int = 1, current: Release? = .sample(1, .current))
        -> Scene
    {
        Scene(
            rows: rows, formation: ["web": FormationEntry(quantity: quantity)], current: current,
            candidate: .sample(2, .rolling))
    }

    @Test("is begun, or with nothing to run concluded at once")
    func begin() {
        var scene = Scene(rows: [.sample(1, state: .up)], candidate: .sample(2, .pending))
        #expect(scene.plan().actions == [.markRolling(version: 2)])
        scene.rows = []
        scene.formation = [:]
        #expect(scene.plan().actions == [.markCurrent(version: 2)])
    }

    @Test("starts half beside the old ones, all at once where there are none")
    func window() {
        let old = (1...4).map { ProcessInstance.sample($0, index: $0, state: .up) }
        #expect(
            rolling(old, quantity: 4).plan().actions
                == [.create([1, 2].map { .init(type: "web", index: $0, release: 2) })])
        #expect(
            rolling([], quantity: 4, current: nil).plan().actions
                == [.create((1...4).map { .init(type: "web", index: $0, release: 2) })])
    }

    @Test("an old one leaves when the new one in its place serves, and the next is started")
    func handOver() {
        let rows: [ProcessInstance] = [
            .sample(1, index: 1, state: .up), .sample(2, index: 2, state: .up),
            .sample(11, index: 1, release: 2, state: .up),
        ]
        #expect(
            rolling(rows, quantity: 2).plan().actions == [
                .unroute([.number(1)], reason: "replaced"),
                .create([.init(type: "web", index: 2, release: 2)]),
            ])
    }

    @Test("is given up when a process can't be started in time, with the reason")
    func neverStarted() {
        let old = ProcessInstance.sample(1, state: .up)
        var scene = rolling([old, .sample(11, release: 2, state: .planned, since: 940)])
        scene.startErrors = [.number(11): "no space left on the host's disk"]
        #expect(
            scene.plan().actions == [
                .failRelease(
                    version: 2,
                    summary: "web.1 could not be started within 60 s: no space left on the host's disk",
                    instance: .number(11))
            ])
        scene.now = 999
        #expect(scene.plan() == Plan(actions: [.ensure(.number(11))], wakeAt: .at(1000)))
        // Without a refusal it may just be waiting for its turn.
        scene.startErrors = [:]
        scene.now = 1119
        #expect(scene.plan() == Plan(actions: [.ensure(.number(11))], wakeAt: .at(1120)))
        scene.now = 1120
        #expect(scene.plan().actions.count == 1 && scene.plan().changesStore)
        // The time without an engine does not count.
        scene.engineSince = 1119
        #expect(scene.plan() == Plan(actions: [.ensure(.number(11))], wakeAt: .at(1299)))
        scene.now = 1299
        #expect(scene.plan().changesStore)
    }

    @Test("is not given up when the clock is put back a little")
    func clockPutBack() {
        let old = ProcessInstance.sample(1, state: .up)
        let scene = rolling([old, .sample(11, release: 2, state: .starting, since: 1100)])
        #expect(scene.plan() == Plan(wakeAt: .at(1160)))
    }

    @Test("becomes current when all its processes serve")
    func current() {
        let rows: [ProcessInstance] = [.sample(11, release: 2, state: .up)]
        #expect(rolling(rows).plan().actions == [.markCurrent(version: 2)])
    }

    @Test("one crash is forgiven, two are not")
    func crashes() {
        let old = ProcessInstance.sample(1, state: .up)
        var first = ProcessInstance.sample(11, release: 2, state: .crashed, since: 990, unrouted: 2)
        first.reason = "exited with status 1"
        #expect(
            rolling([old, first]).plan().actions
                == [.create([.init(type: "web", index: 1, release: 2, restarts: 1)])])
        var second = ProcessInstance.sample(12, release: 2, state: .crashed, since: 995, unrouted: 3)
        second.reason = "exited with status 1"
        #expect(
            rolling([old, first, second]).plan().actions == [
                .failRelease(version: 2, summary: "web.1 exited with status 1 at start", instance: .number(12))
            ])
    }

    @Test("tells what a process listens on that never became ready")
    func notListening() {
        let row = ProcessInstance.sample(11, release: 2, state: .starting, since: 940)
        func summary(_ sockets: [ObservedSocket]) -> String? {
            var scene = rolling([row], current: nil)
            scene.containers = [row.container(ready: false, sockets: sockets)]
            guard case .failRelease(_, let summary, _) = scene.plan().actions.first else { return nil }
            return summary
        }
        let local = ObservedSocket(protocol: .tcp, address: "127.0.0.1", port: 5000, isLoopback: true)
        #expect(summary([local]) == "web.1 listens on 127.0.0.1:5000 only; bind 0.0.0.0 or [::]")
        let other = ObservedSocket(protocol: .tcp, address: "0.0.0.0", port: 8080, isLoopback: false)
        #expect(
            summary([other]) == "web.1 did not listen on tcp port 5000 within 60 s; it listens on tcp 8080")
        #expect(summary([]) == "web.1 did not listen on tcp port 5000 within 60 s; it listens on no tcp port")
        var early = rolling([row], current: nil)
        early.now = 999
        #expect(early.plan() == Plan(wakeAt: .at(1000)))
    }

    @Test("after a failure the new ones leave, and replaced ones come back before theirs go")
    func failed() {
        let starting = ProcessInstance.sample(11, release: 2, state: .starting, since: 990)
        let taken = ProcessInstance.sample(12, index: 2, release: 2, state: .up)
        let old = ProcessInstance.sample(1, state: .up)
        let scene = Scene(rows: [starting, taken, old], formation: ["web": FormationEntry(quantity: 2)])
        #expect(
            scene.plan().actions == [
                .unroute([.number(11)], reason: "replaced"), .create([.init(type: "web", index: 2, release: 1)]),
            ])
        let first = Scene(rows: [starting], current: nil)
        #expect(first.plan().actions == [.unroute([.number(11)], reason: "no longer wanted")])
    }

    @Test("an old process that crashes meanwhile is brought back")
    func oldCrashes() {
        let crashed = ProcessInstance.sample(1, state: .crashed, unrouted: 2)
        let new = ProcessInstance.sample(11, release: 2, state: .starting, since: 999)
        #expect(rolling([crashed, new]).plan().actions == [.create([.init(type: "web", index: 1, release: 1)])])
    }

    @Test("a newer release takes the place of one that rolls out")
    func superseded() {
        let scene = Scene(
            rows: [
                .sample(1, state: .up), .sample(11, release: 2, state: .starting, since: 999),
            ], candidate: .sample(3, .rolling))
        #expect(
            scene.plan().actions == [
                .unroute([.number(11)], reason: "replaced"), .create([.init(type: "web", index: 1, release: 3)]),
            ])
    }

    @Test("a process without ports has to run for a moment")
    func settles() {
        let row = ProcessInstance.sample(11, release: 2, state: .starting, since: 999)
        var scene = rolling([row])
        scene.ports = []
        scene.current = nil
        scene.containers = [row.container()]
        #expect(scene.plan() == Plan(wakeAt: .at(1001)))
        scene.now = 1001
        #expect(scene.plan().actions == [.markUp(.number(11), row.container())])
    }
}
