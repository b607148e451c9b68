import Domain
import Testing

@testable import Scheduler

@Suite("Runs of releases")
struct ReleaseRunTests {
    static let types = ["web": "ok", "release": "./migrate"]

    /// A release phase of v2 beside v1, which serves.
    func scene(
        _ state: ReleaseRun.State = .running, rows: [ProcessInstance] = [],
        containers: [ContainerObservation] = [], candidate: Release.State = .rolling
    ) -> Scene {
        let old = ProcessInstance.sample(1, state: .up)
        return Scene(
            rows: [old] + rows, candidate: .sample(2, candidate, types: Self.types),
            runs: [
                ReleaseRun(
                    kind: .release, version: 2, state: state, command: "./migrate",
                    instance: state == .pending ? nil : .number(7))
            ], containers: [old.container()] + containers)
    }

    func row(_ state: ProcessInstance.State, since: Double = 990, bootID: String? = "boot", version: Int = 2)
        -> ProcessInstance
    {
        var row = ProcessInstance.sample(
            7, "release", index: version, release: version, state: state, since: since, wasRouted: false)
        row.bootID = bootID
        return row
    }

    @Test("the release is taken up first, then its phase is begun, and nothing of it starts")
    func begins() {
        #expect(scene(.pending, candidate: .pending).plan().actions == [.markRolling(version: 2)])
        #expect(scene(.pending).plan().actions == [.beginRun(.release, version: 2)])
        #expect(scene(rows: [row(.planned)]).plan().actions == [.ensure(.number(7))])
        var busy = scene(rows: [row(.planned)])
        busy.busy = [.number(7)]
        #expect(busy.plan().actions == [])
        #expect(
            scene(rows: [row(.planned)], containers: [row(.planned).container()]).plan().actions
                == [.markStarting(.number(7), row(.planned).container())])
        let starting = row(.starting)
        #expect(
            scene(rows: [starting], containers: [starting.container()]).plan().actions
                == [.markUp(.number(7), starting.container())])
        let up = row(.up)
        #expect(scene(rows: [up], containers: [up.container()]).plan().actions == [])
    }

    @Test("once it succeeded, the processes start", arguments: [ProcessInstance.State.planned, .starting, .up])
    func succeeds(state: ProcessInstance.State) {
        let row = row(state)
        #expect(
            scene(rows: [row], containers: [row.container(.exited, exitCode: 0)]).plan().actions == [
                .endRun(
                    ReleaseRunEnd(
                        kind: .release, version: 2, instance: .number(7), result: .succeeded, exitCode: 0))
            ])
        var done = scene()
        done.runs = []
        #expect(done.plan().actions == [.create([NewInstance(type: "web", index: 1, release: 2)])])
    }

    @Test(
        "every other end fails it and says why",
        arguments: [
            (ContainerObservation.State.exited, Int32(3), false, false, "release.2 exited with status 3"),
            (.exited, 137, false, false, "release.2 was killed by signal 9"),
            (.exited, 137, true, false, "release.2 ran out of memory"),
            (.exited, 143, false, true, "release.2 exceeded 60 min"),
            (.exited, 0, false, true, "release.2 exceeded 60 min"),
        ])
    func fails(
        state: ContainerObservation.State, code: Int32, outOfMemory: Bool, timedOut: Bool, reason: String
    ) throws {
        let row = row(.up)
        var container = row.container(state, exitCode: code, outOfMemory: outOfMemory)
        container.timedOut = timedOut
        let actions = scene(rows: [row], containers: [container]).plan().actions
        guard case .endRun(let end) = actions.first, case .failed(let why) = end.result else {
            Issue.record("\(actions)")
            return
        }
        #expect(actions.count == 1 && why.hasPrefix(reason) && end.exitCode == code && end.isOver)
    }

    @Test("an end that nobody saw is told, and nothing runs twice", arguments: [ProcessInstance.State.starting, .up])
    func unknownEnd(state: ProcessInstance.State) throws {
        let row = row(state)
        var reused = row.container()
        reused.pidStartTime = 99
        for containers in [[], [row.container(bootID: "other")], [reused], [row.container(.exited)]] {
            let actions = scene(rows: [row], containers: containers).plan().actions
            guard case .endRun(let end) = actions.first, case .failed(let why) = end.result else {
                Issue.record("\(actions)")
                continue
            }
            #expect(why.contains("can't be known") && end.exitCode == nil)
        }
    }

    @Test("what was planned before a restart of the host may have run")
    func plannedBeforeReboot() {
        let actions = scene(rows: [row(.planned, bootID: "before")]).plan().actions
        guard case .endRun(let end) = actions.first, case .failed(let why) = end.result else {
            Issue.record("\(actions)")
            return
        }
        #expect(why.contains("can't be known"))
        // Within one boot the engine knows whether it ran.
        #expect(scene(rows: [row(.planned)]).plan().actions == [.ensure(.number(7))])
    }

    @Test("one that the engine refuses, or can't start in time, fails")
    func notStarted() {
        var refused = scene(rows: [row(.planned)])
        refused.startFailures = [.number(7): "no such slug"]
        #expect(
            refused.plan().actions == [
                .endRun(
                    ReleaseRunEnd(
                        kind: .release, version: 2, instance: .number(7),
                        result: .failed("release.2 could not be started: no such slug")))
            ])
        var late = scene(rows: [row(.planned, since: 900)])
        late.startErrors = [.number(7): "the disk is full"]
        late.busy = [.number(7)]
        guard case .endRun(let end) = late.plan().actions.first else {
            Issue.record("\(late.plan())")
            return
        }
        // The call may still get through, so that it is stopped.
        #expect(!end.isOver)
        late.engineSince = 999
        #expect(late.plan().actions == [] && late.plan().wakeAt == .at(1059))
    }

    @Test("a newer release has it stopped, and waits until it is gone")
    func superseded() {
        let up = row(.up)
        var next = scene(.pending, rows: [up], containers: [up.container()])
        next.candidate = .sample(3, .rolling, types: Self.types)
        next.runs = [ReleaseRun(kind: .release, version: 3, command: "./migrate")]
        #expect(next.plan().actions == [.unroute([.number(7)], reason: "a newer release took its place")])
        let stopping = row(.stopping)
        next.rows[1] = stopping
        #expect(next.plan().actions == [.stop(.number(7), graceSeconds: 30)])
        next.busy = [.number(7)]
        #expect(next.plan().actions == [])
        next.containers?[1] = up.container(.exited, exitCode: 143)
        #expect(
            next.plan().actions == [
                .endRun(
                    ReleaseRunEnd(
                        kind: .release, version: 2, instance: .number(7), result: .stopped, exitCode: 143))
            ])
        next.busy = []
        next.rows[1].state = .exited
        #expect(
            next.plan().actions == [.remove(.number(7)), .beginRun(.release, version: 3)])
        // One without a phase of its own waits as well.
        next.rows[1] = stopping
        next.runs = []
        next.candidate = .sample(3, .rolling)
        next.containers?[1] = up.container()
        #expect(next.plan().actions == [.stop(.number(7), graceSeconds: 30)])
    }

    @Test("meanwhile the old release is cared for as ever")
    func oldReleaseGoesOn() {
        let up = row(.up)
        var scene = scene(rows: [up], containers: [up.container()])
        scene.formation = ["web": FormationEntry(quantity: 2)]
        #expect(scene.plan().actions == [.create([NewInstance(type: "web", index: 2, release: 1)])])
        let scaled = Operation(
            id: .number(50), kind: .scale, app: App.sample.id, target: "", scope: ["worker"], startedAt: .at(100))
        scene.formation = ["web": FormationEntry(quantity: 1), "worker": FormationEntry(quantity: 1)]
        scene.candidate = .sample(2, .rolling, types: ["web": "ok", "worker": "ok", "release": "./migrate"])
        scene.operations = [scaled]
        // Only the next release has workers: whoever asked for some waits for it.
        #expect(scene.plan().actions == [])
    }

    @Test("with the app it goes")
    func deleted() {
        let up = row(.up)
        var scene = scene(rows: [up], containers: [up.container()])
        scene.deleting = true
        let actions = scene.plan().actions
        #expect(actions.contains(.unroute([.number(7)], reason: "the app is being deleted")))
        #expect(!actions.contains { if case .beginRun = $0 { true } else { false } })
    }

    @Test("a postdeploy script runs beside the release that is current, whatever becomes of it")
    func postdeploy() {
        let web = ProcessInstance.sample(1, state: .up)
        var scene = Scene(
            rows: [web], runs: [ReleaseRun(kind: .postdeploy, version: 1, command: "./seed")],
            containers: [web.container()])
        #expect(scene.plan().actions == [.beginRun(.postdeploy, version: 1)])
        var row = ProcessInstance.sample(8, "postdeploy", index: 1, release: 1, state: .up, wasRouted: false)
        row.bootID = "boot"
        scene.rows.append(row)
        scene.runs[0].state = .running
        scene.runs[0].instance = .number(8)
        scene.containers?.append(row.container())
        #expect(scene.plan().actions == [])
        // The next release does not wait for it.
        scene.candidate = .sample(2, .pending)
        #expect(scene.plan().actions == [.markRolling(version: 2)])
        scene.candidate = nil
        scene.containers?[1] = row.container(.exited, exitCode: 4)
        #expect(
            scene.plan().actions == [
                .endRun(
                    ReleaseRunEnd(
                        kind: .postdeploy, version: 1, instance: .number(8),
                        result: .failed("postdeploy.1 exited with status 4"), exitCode: 4))
            ])
    }

    @Test("a process that has to run for a while before it counts is waited for")
    func uptime() {
        let new = ProcessInstance.sample(2, release: 2, state: .starting, since: 995)
        var release = Release.sample(2, .rolling)
        release.manifest.uptimeSeconds = ["web": 10]
        var scene = Scene(rows: [new], current: nil, candidate: release, containers: [new.container()])
        #expect(scene.plan() == Plan(wakeAt: .at(1005)))
        scene.now = 1005
        #expect(scene.plan().actions == [.markUp(.number(2), new.container())])
    }

    @Test("it is as large as the largest process type, has no port and a limit in time")
    func spec() throws {
        let snapshot = AppSnapshot(
            app: .sample,
            formation: [
                "web": FormationEntry(quantity: 1, memoryBytes: 1 << 30, cpuMillis: 250),
                "other": FormationEntry(quantity: 1, memoryBytes: 8 << 30, cpuMillis: 8000),
            ], current: nil, candidate: .sample(2, .rolling, types: Self.types), ports: [.tcp("web")], instances: [],
            slots: [], operations: [])
        let spec = SpecFactory.spec(
            for: row(.planned), run: ReleaseRun(kind: .release, version: 2, command: "./migrate"),
            release: .sample(2, .rolling, types: Self.types), config: ["KEY": try ConfigValue("v")], in: snapshot,
            epoch: 1, timeLimitSeconds: 60)
        let values = Dictionary(
            uniqueKeysWithValues: spec.environment.map { ($0.name, String(decoding: $0.value, as: UTF8.self)) })
        #expect(spec.command == "./migrate" && spec.name == "release.2" && spec.timeLimitSeconds == 60)
        #expect(spec.limits.memoryBytes == 1 << 30 && spec.limits.cpuMillis == 500 && spec.requiredPorts.isEmpty)
        #expect(values["DYNO"] == "release.2" && values["PAAS_PROCESS"] == "release.2" && values["KEY"] == "v")
        #expect(values["PAAS_RELEASE"] == "v2" && values["PORT"] == nil && values["PORT_WEB"] == nil)
    }
}
