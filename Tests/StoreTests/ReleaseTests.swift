import Domain
import Store
import Testing

@Suite(.serialized) struct ReleaseTests {
    @Test func aPushBecomesABuildAReleaseAndAPort() async throws {
        try await Harness.run { h in
            let app = try await h.app("alpha")
            let (build, release) = try await h.push(app, ["web": "a", "worker": "b", "release": "c"])
            let made = try #require(release)
            #expect(build.number == 1 && build.state == .succeeded && build.release == 1 && build.slug == made.slug)
            #expect(try await h.operation(build.operation).state == .completed)
            #expect(try await h.operation(made.operation).state == .starting)
            #expect(try await h.store.formation(app.id).entries.mapValues(\.quantity) == ["web": 1, "worker": 0])
            #expect(try await h.store.app(app.id).generation == 1)
            let port = try #require(try await h.store.ports(app.id).first)
            #expect(port.name == "web" && port.protocol == .tcp && port.publicPort == 20000 && port.targetPort == 5000)
            #expect(try await h.store.buildsAwaitingRef().isEmpty)
            #expect(try await h.store.snapshot(app.id)?.candidate == made)
            try await h.rollOut(app, 1)
            #expect(try await h.store.snapshot(app.id)?.current?.version == 1)
            #expect(try await h.store.buildsAwaitingRef().map(\.id) == [build.id])
            try await h.store.markRefMoved(build.id)
            #expect(try await h.store.buildsAwaitingRef().isEmpty)
            // A repetition after a lost answer changes nothing.
            let again = try await h.store.completeBuild(
                build.id, slug: try Harness.slug(1), portRange: Harness.range, now: h.now())
            #expect(again?.version == 1)
            let second = try await h.deploy(app, slug: 2, ["web": "a", "clock": "d"])
            #expect(second.version == 2)
            #expect(try await h.store.release(app.id, version: 1).state == .superseded)
            #expect(
                try await h.store.formation(app.id).entries.mapValues(\.quantity) == [
                    "web": 1, "worker": 0, "clock": 0,
                ])
            #expect(try await h.store.releases(app.id, limit: 10, before: nil).map(\.version) == [2, 1])
            #expect(try await h.store.releases(app.id, limit: 10, before: 2).map(\.version) == [1])
            #expect(try await h.store.builds(app.id, limit: 1, before: nil).map(\.number) == [2])
            #expect(try await h.store.build(app.id, "1").id == build.id)
            #expect(try await h.store.build(app.id, "\(build.id)").number == 1)
            #expect(
                try await h.kinds("alpha").prefix(8) == [
                    "app.created", "build.queued", "build.started", "port.added", "release.created", "build.succeeded",
                    "release.rolling", "release.current",
                ])
        }
    }

    @Test func optionsOfAPush() async throws {
        try await Harness.run { h in
            let app = try await h.app("alpha", noPorts: true)
            let only = try await h.push(app, slug: 5, ["main": "x"], options: Build.Options(buildOnly: true))
            #expect(only.release == nil && only.build.state == .succeeded && only.build.refMoved)
            #expect(try await h.store.formation(app.id).entries.isEmpty)
            // Released later, by its digest; another app may not.
            let digest = try Harness.slug(5).digest
            let made = try await h.store.release(app.id, slug: digest, actor: h.admin, now: h.now()).release
            #expect(made.version == 1 && made.commit == String(repeating: "a", count: 40))
            #expect(try await h.store.formation(app.id).entries["main"]?.quantity == 1)
            #expect(try await h.store.ports(app.id).isEmpty)
            let other = try await h.app("beta")
            try await refused(.notFound) {
                try await h.store.release(other.id, slug: digest, actor: h.admin, now: h.now())
            }
            let noWait = try await h.push(app, slug: 6, options: Build.Options(noWait: true))
            #expect(try await h.store.buildsAwaitingRef().map(\.id) == [noWait.build.id])
        }
    }

    @Test func oneBuildAtATime() async throws {
        try await Harness.run { h in
            let app = try await h.app("alpha")
            let results = await withTaskGroup(of: Result<Build, any Error>.self) { group in
                for _ in 0..<6 {
                    group.addTask {
                        do { return .success(try await h.openBuild(app)) } catch { return .failure(error) }
                    }
                }
                return await group.reduce(into: []) { $0.append($1) }
            }
            let won = results.compactMap { try? $0.get() }
            #expect(won.count == 1 && won.first?.number == 1)
            let error = try await refused(.conflict) { try await h.openBuild(app) }
            #expect(
                error.message
                    == "build 1 of alpha is still running; wait for it, or cancel it: paasctl builds cancel 1 -a alpha")
            let build = try #require(won.first)
            #expect(try await h.store.activeBuilds().map(\.id) == [build.id])
            #expect(try await h.store.requestCancel(build.id, now: h.now()))
            #expect(try await h.store.cancelRequested(build.id))
            try await h.store.failBuild(
                build.id, state: .cancelled, error: ErrorReport(code: .cancelled, message: "cancelled"), now: h.now())
            #expect(try await !h.store.requestCancel(build.id, now: h.now()))
            #expect(try await h.operation(build.operation).state == .cancelled)
            let next = try await h.openBuild(app)
            #expect(next.number == 2)
            try await h.store.failBuild(
                next.id, state: .failed, error: ErrorReport(code: .appFailed, message: "compile\0error"), now: h.now())
            #expect(try await h.store.build(next.id).error?.message == "compile\u{FFFD}error")
            try await refused(.conflict) {
                try await h.store.completeBuild(
                    next.id, slug: try Harness.slug(1), portRange: Harness.range, now: h.now())
            }
            #expect(try await h.kinds("alpha").suffix(1) == ["build.failed"])
        }
    }

    @Test func aNewerReleaseSupersedesOneThatRolls() async throws {
        try await Harness.run { h in
            let app = try await h.app("alpha")
            try await h.deploy(app, slug: 1)
            let pushed = try await h.push(app, slug: 2)
            let rolling = try #require(pushed.release)
            try await h.store.markRolling(app.id, version: 2, epoch: h.epoch, now: h.now())
            let change = try await h.set(app, ["A": "1"])
            let release = try await h.store.release(app.id, version: try #require(change.release))
            // The slug of what is current, not of what rolls.
            #expect(try release.slug == Harness.slug(1).digest)
            #expect(try await h.store.releaseState(app.id, version: 2).state == .superseded)
            #expect(try await h.operation(rolling.operation).state == .cancelled)
            #expect(try await !h.store.buildsAwaitingRef().contains { $0.id == pushed.build.id })
            try await refused(.conflict) {
                try await h.store.markCurrent(app.id, version: 2, epoch: h.epoch, now: h.now())
            }
        }
    }

    @Test func rollbackTakesSlugAndConfig() async throws {
        try await Harness.run { h in
            let app = try await h.app("alpha")
            try await refused(.conflict) { try await h.store.rollback(app.id, to: nil, actor: h.admin, now: h.now()) }
            _ = try await h.set(app, ["A": "1"])
            try await h.deploy(app, slug: 1)
            try await refused(.conflict) { try await h.store.rollback(app.id, to: nil, actor: h.admin, now: h.now()) }
            _ = try await h.set(app, ["A": "2", "B": "x"])
            try await h.rollOut(app, 2)
            // Never became current: no target of a rollback without a number.
            _ = try await h.push(app, slug: 3)
            try await h.store.markReleaseFailed(app.id, version: 3, output: "no", epoch: h.epoch, now: h.now())
            try await h.deploy(app, slug: 4)
            let back = try await h.store.rollback(app.id, to: nil, actor: h.admin, now: h.now())
            #expect(try back.release.version == 5 && back.release.slug == Harness.slug(1).digest)
            #expect(back.operation.kind == .release && back.release.description == "Rollback to v2")
            #expect(try await h.store.config(app.id).version == 3 && back.release.configVersion == 3)
            let first = try await h.store.rollback(app.id, to: 1, actor: h.admin, now: h.now()).release
            #expect(first.version == 6 && first.configVersion == 4)
            let wanted = try await h.store.config(app.id)
            #expect(wanted.version == 4 && wanted.vars.mapValues { $0.text } == ["A": "1"])
            try await refused(.notFound) { try await h.store.rollback(app.id, to: 99, actor: h.admin, now: h.now()) }
        }
    }

    @Test func theFormationFollowsItsRules() async throws {
        try await Harness.run { h in
            let app = try await h.app("alpha")
            // Before any release any valid name will do, and there is nothing to wait for.
            let early = try await h.scale(app, ["worker": 2])
            #expect(early.operation.state == .completed && early.generation == 1)
            try await h.deploy(app, ["web": "a", "worker": "b"])
            #expect(try await h.store.formation(app.id).entries.mapValues(\.quantity) == ["web": 1, "worker": 2])
            let unknown = try await refused(.invalid) { try await h.scale(app, ["wrker": 1]) }
            #expect(unknown.message.contains("web, worker"))
            let generation = try await h.store.formation(app.id).generation
            let first = try await h.scale(app, ["web": 3])
            #expect(first.generation == generation + 1 && first.operation.state == .starting)
            let equal = try await h.scale(app, ["web": 3])
            #expect(equal.generation == first.generation && equal.operation.id == first.operation.id)
            try await h.store.setOperationProgress(first.operation.id, 0.5, epoch: h.epoch)
            let running = try await h.operation(first.operation.id)
            #expect(running.progress == 0.5 && running.state == .processing)
            let second = try await h.scale(app, ["web": 5])
            #expect(try await h.operation(first.operation.id).state == .cancelled)
            try await h.store.finishOperation(
                second.operation.id, state: .completed, error: nil, epoch: h.epoch, now: h.now())
            #expect(try await h.operation(second.operation.id).progress == 1)
            #expect(try await h.scale(app, ["web": 5]).operation.state == .completed)
            try await refused(.preconditionFailed) {
                try await h.store.patchFormation(
                    app.id, changes: [:], ifMatch: generation, actor: h.admin, now: h.now())
            }
            for change in [
                FormationChange(quantity: -1), FormationChange(quantity: 501), FormationChange(memoryBytes: 1),
                FormationChange(memoryBytes: 1 << 41), FormationChange(cpuMillis: 9),
                FormationChange(cpuMillis: 256_001), FormationChange(qos: .guaranteed),
            ] {
                try await refused(.invalid) {
                    try await h.store.patchFormation(
                        app.id, changes: ["web": change], ifMatch: nil, actor: h.admin, now: h.now())
                }
            }
            let sized = try await h.store.patchFormation(
                app.id, changes: ["web": FormationChange(memoryBytes: 64 << 20, cpuMillis: 250, qos: .burstable)],
                ifMatch: nil, actor: h.admin, now: h.now())
            #expect(
                sized.entries["web"]
                    == FormationEntry(quantity: 5, memoryBytes: 64 << 20, cpuMillis: 250))
            // A type that a newer release no longer has can only go.
            try await h.deploy(app, slug: 2, ["web": "a"])
            try await refused(.invalid) { try await h.scale(app, ["worker": 3]) }
            #expect(try await h.scale(app, ["worker": 0]).entries["worker"]?.quantity == 0)
            #expect(
                try await h.store.counts()
                    == PlatformCounts(apps: 1, processesUp: 0, processesWanted: 5, activeBuilds: 0))
        }
    }

    @Test func newLimitsReplaceWhatRuns() async throws {
        try await Harness.run { h in
            let app = try await h.app("alpha")
            try await h.deploy(app, ["web": "a", "worker": "b"])
            let (web, _) = try await h.up(app)
            _ = try await h.up(app, "worker")
            func asked() async throws -> [InstanceID] {
                try await h.store.processes(app.id).filter(\.replaceRequested).map(\.id)
            }
            _ = try await h.scale(app, ["web": 2, "worker": 1])
            #expect(try await asked() == [])
            let change = FormationChange(memoryBytes: 512 << 20)
            let operation = try await h.store.patchFormation(
                app.id, changes: ["web": change], ifMatch: nil, actor: h.admin, now: h.now()
            ).operation
            #expect(try await asked() == [web.id])
            #expect(operation.state == .starting && operation.scope == ["web"])
            // Another type's change leaves it alone.
            let other = try await h.scale(app, ["worker": 3]).operation
            #expect(try await h.operation(operation.id).state == .starting && other.scope == ["worker"])
        }
    }

    @Test func aPlaceThatIsGivenUpIsForgotten() async throws {
        try await Harness.run { h in
            let app = try await h.app("alpha")
            try await h.deploy(app)
            _ = try await h.scale(app, ["web": 9])
            let instance = try await h.plan(app, "web", 9)
            _ = try await h.store.markCrashed(
                instance.id, exitCode: 1, reason: "x", slotRestarts: 5, nextStartAt: h.now(), epoch: h.epoch,
                now: h.now())
            let restart = try await h.store.replaceProcesses(
                app.id, matching: "web.9", actor: h.admin, now: h.now())
            #expect(restart.state == .starting && restart.scope == ["web.9"])
            _ = try await h.scale(app, ["web": 1])
            #expect(try await h.store.snapshot(app.id)?.slots == [])
            try await refused(.notFound) {
                try await h.store.replaceProcesses(app.id, matching: "web.9", actor: h.admin, now: h.now())
            }
        }
    }

    /// Equal trees of two apps are one slug, with process types of their own.
    @Test func aSharedSlugSharesNoProcessTypes() async throws {
        try await Harness.run { h in
            let (a, b) = (try await h.app("alpha"), try await h.app("beta"))
            _ = try await h.push(a, slug: 7, ["web": "a"], options: Build.Options(buildOnly: true))
            try await h.deploy(b, slug: 7, ["web": "b", "worker": "w"])
            let digest = try Harness.slug(7).digest
            let made = try await h.store.release(a.id, slug: digest, actor: h.admin, now: h.now()).release
            #expect(made.processTypes == ["web": "a"] && made.stack == Harness.stack)
            let again = try await h.store.release(b.id, slug: digest, actor: h.admin, now: h.now()).release
            #expect(again.processTypes == ["web": "b", "worker": "w"])
        }
    }
}
