import Domain
import Store
import Testing

@Suite(.serialized) struct ReleaseRunTests {
    static let types = ["web": "./server", "release": "./migrate"]

    func instance(_ h: Harness, _ app: App, _ kind: ReleaseRun.Kind, _ version: Int) -> ProcessInstance {
        ProcessInstance(
            id: .random(), app: app.id, type: kind.rawValue, index: version, release: version, generation: 1,
            epoch: h.epoch, state: .planned, bootID: "boot-1", createdAt: h.now(), since: h.now())
    }

    func begin(_ h: Harness, _ app: App, _ kind: ReleaseRun.Kind, _ version: Int) async throws -> ProcessInstance {
        let instance = instance(h, app, kind, version)
        try await h.store.beginRun(kind, version: version, instance: instance, epoch: h.epoch, now: h.now())
        return instance
    }

    func end(
        _ h: Harness, _ app: App, _ instance: ProcessInstance, _ result: ReleaseRunEnd.Result, code: Int32? = nil,
        output: String = "", isOver: Bool = true
    ) async throws {
        let kind = try #require(instance.runKind)
        try await h.store.endRun(
            app.id,
            ReleaseRunEnd(
                kind: kind, version: instance.release, instance: instance.id, result: result, exitCode: code,
                isOver: isOver), output: output, epoch: h.epoch, now: h.now())
    }

    @Test func aReleasePhaseHasOneInstanceAndKeepsItsOutput() async throws {
        try await Harness.run { h in
            let app = try await h.app("alpha")
            let release = try #require(try await h.push(app, Self.types).release)
            let due = try #require(try await h.store.snapshot(app.id)?.runs)
            #expect(due == [ReleaseRun(kind: .release, version: 1, command: "./migrate")])
            #expect(try await h.store.formation(app.id).entries.keys.sorted() == ["web"])
            try await h.store.markRolling(app.id, version: 1, epoch: h.epoch, now: h.now())
            let row = try await begin(h, app, .release, 1)
            // The answer got lost: the same again is fine, another one is not.
            try await h.store.beginRun(.release, version: 1, instance: row, epoch: h.epoch, now: h.now())
            try await refused(.conflict) { try await begin(h, app, .release, 1) }
            let planned = try #require(try await h.store.processes(app.id).first)
            #expect(planned.name == "release.1" && planned.bootID == "boot-1" && planned.state == .planned)
            #expect(try await h.store.snapshot(app.id)?.runs.map(\.state) == [.running])
            let seen = h.seen(row)
            try await h.store.markStarting(row.id, seen, epoch: h.epoch, now: h.now())
            _ = try await h.store.markUp(row.id, seen, epoch: h.epoch, now: h.now())
            try await end(h, app, row, .succeeded, code: 0, output: "created\0 3 tables")
            #expect(try await h.store.snapshot(app.id)?.runs == [])
            #expect(try await h.store.processes(app.id).map(\.state) == [.exited])
            let run = try #require(try await h.store.releaseRuns(app.id, version: 1).first)
            #expect(run.state == .succeeded && run.exitCode == 0 && run.output == "created\u{FFFD} 3 tables")
            #expect(run.startedAt != nil && run.finishedAt != nil)
            #expect(try await h.store.release(app.id, version: 1).output == "created\u{FFFD} 3 tables")
            #expect(try await h.store.release(app.id, version: 1).state == .rolling)
            // A rollout that fails later tells both.
            try await h.store.markReleaseFailed(
                app.id, version: 1, output: "web.1 exited with status 1", epoch: h.epoch, now: h.now())
            let output = try #require(try await h.store.release(app.id, version: 1).output)
            #expect(output == "web.1 exited with status 1\nOutput of release.1:\ncreated\u{FFFD} 3 tables")
            #expect(try await h.kinds("alpha").filter { $0.hasPrefix("run.") } == ["run.started", "run.succeeded"])
            #expect(release.version == 1)
        }
    }

    @Test func aFailedPhaseFailsItsReleaseInTheSameStep() async throws {
        try await Harness.run { h in
            let app = try await h.app("alpha")
            try await h.deploy(app)
            let second = try #require(try await h.push(app, slug: 2, Self.types).release)
            try await h.store.markRolling(app.id, version: 2, epoch: h.epoch, now: h.now())
            let row = try await begin(h, app, .release, 2)
            try await end(
                h, app, row, .failed("release.2 exited with status 3"), code: 3, output: "no such table", isOver: false)
            // A repetition changes nothing.
            try await end(h, app, row, .failed("again"), code: 4, output: "no such table")
            let failed = try await h.store.release(app.id, version: 2)
            #expect(failed.state == .failed)
            #expect(failed.output == "release.2 exited with status 3\nOutput of release.2:\nno such table")
            let run = try #require(try await h.store.releaseRuns(app.id, version: 2).first)
            #expect(run.state == .failed && run.exitCode == 3 && run.reason == "release.2 exited with status 3")
            let operation = try await h.operation(second.operation)
            #expect(operation.state == .failed && operation.error?.message.contains("exited with status 3") == true)
            #expect(try await h.store.app(app.id).currentRelease == 1)
            #expect(try await h.kinds("alpha").suffix(2) == ["run.failed", "release.failed"])
        }
    }

    @Test func aNewerReleaseSupersedesARunningPhase() async throws {
        try await Harness.run { h in
            let app = try await h.app("alpha")
            try await h.deploy(app)
            _ = try await h.push(app, slug: 2, Self.types)
            try await h.store.markRolling(app.id, version: 2, epoch: h.epoch, now: h.now())
            let row = try await begin(h, app, .release, 2)
            _ = try await h.set(app, ["A": "1"])
            #expect(try await h.store.releaseRuns(app.id, version: 2).map(\.state) == [.superseded])
            // v3 is of v1's slug, which has no release phase.
            #expect(try await h.store.snapshot(app.id)?.runs == [])
            try await end(h, app, row, .stopped, code: 143, output: "half")
            let run = try #require(try await h.store.releaseRuns(app.id, version: 2).first)
            #expect(run.state == .superseded && run.output == "half" && run.exitCode == 143)
            #expect(try await h.store.release(app.id, version: 2).state == .superseded)
            try await refused(.conflict) { try await begin(h, app, .release, 2) }
        }
    }

    @Test func everyReleaseHasItsPhase() async throws {
        try await Harness.run { h in
            let app = try await h.app("alpha")
            try await h.deploy(app, Self.types)
            _ = try await h.set(app, ["A": "1"])
            #expect(try await h.store.snapshot(app.id)?.runs.map(\.name) == ["release.2"])
            try await h.rollOut(app, 2)
            _ = try await h.store.rollback(app.id, to: 1, actor: h.admin, now: h.now())
            #expect(try await h.store.snapshot(app.id)?.runs.map(\.name) == ["release.3"])
            _ = try await h.store.release(app.id, slug: try Harness.slug(1).digest, actor: h.admin, now: h.now())
            #expect(try await h.store.snapshot(app.id)?.runs.map(\.name) == ["release.4"])
        }
    }

    @Test func itCanBeNeitherScaledNorRestartedNorExposed() async throws {
        try await Harness.run { h in
            let app = try await h.app("alpha")
            // Also before there is a release.
            for type in ["release", "postdeploy"] {
                let error = try await refused(.invalid) { try await h.scale(app, [type: 1]) }
                #expect(error.message.contains("can't be scaled"))
                try await refused(.invalid) {
                    try await h.store.putPort(
                        app.id, PortRequest(name: "p", protocol: .tcp, processType: type), range: Harness.range,
                        actor: h.admin, now: h.now())
                }
            }
            _ = try await h.push(app, Self.types)
            try await refused(.invalid) {
                try await h.store.replaceProcesses(app.id, matching: "release.1", actor: h.admin, now: h.now())
            }
            try await h.store.markRolling(app.id, version: 1, epoch: h.epoch, now: h.now())
            _ = try await begin(h, app, .release, 1)
            // All processes: not this one.
            _ = try await h.store.replaceProcesses(app.id, matching: nil, actor: h.admin, now: h.now())
            #expect(try await h.store.processes(app.id).map(\.replaceRequested) == [false])
        }
    }

    @Test func thePostdeployScriptRunsOnceForTheFirstReleaseThatIsCurrent() async throws {
        try await Harness.run { h in
            let app = try await h.app("alpha")
            let manifest = AppManifest(release: ReleaseManifest(postdeploy: "./seed"))
            _ = try await h.push(app, slug: 1, manifest: manifest)
            #expect(try await h.store.snapshot(app.id)?.runs == [])
            try await refused(.conflict) { try await begin(h, app, .postdeploy, 1) }
            // The first one never gets there; a change of config takes the script along.
            _ = try await h.set(app, ["A": "1"])
            #expect(try await h.store.releaseRuns(app.id, version: 1).map(\.state) == [.superseded])
            try await h.rollOut(app, 2)
            #expect(try await h.store.snapshot(app.id)?.runs.map(\.name) == ["postdeploy.2"])
            // Even if the next release is there before it is begun.
            _ = try await h.push(app, slug: 3, manifest: manifest)
            try await h.rollOut(app, 3)
            #expect(try await h.store.snapshot(app.id)?.runs.map(\.name) == ["postdeploy.2"])
            let row = try await begin(h, app, .postdeploy, 2)
            try await end(h, app, row, .failed("postdeploy.2 exited with status 1"), code: 1, output: "oh")
            #expect(try await h.store.snapshot(app.id)?.runs == [])
            #expect(try await h.store.releaseRuns(app.id, version: 2).map(\.state) == [.failed])
            #expect(try await h.store.app(app.id).currentRelease == 3)
            #expect(try await h.store.release(app.id, version: 2).output == nil)
            #expect(try await h.store.releaseRuns(app.id, version: 3) == [])
        }
    }
}

@Suite(.serialized) struct ManifestApplicationTests {
    let manifest = AppManifest(
        variables: [
            .init(name: "PLAIN", value: "theirs"), .init(name: "OTHER", value: "theirs"),
            .init(name: "SECRET", isGenerated: true), .init(name: "OPTIONAL", isRequired: false),
        ],
        formation: ["worker": .init(quantity: 2, memoryBytes: 64 << 20)],
        ports: [.init(name: "sip", protocol: .tcp, process: "web", targetPort: 5060, drainSeconds: 7)],
        release: ReleaseManifest(uptimeSeconds: ["web": 3]))
    let types = ["web": "a", "worker": "b"]

    @Test func theFirstReleaseTakesItAndLaterOnesDoNot() async throws {
        try await Harness.run { h in
            let app = try await h.app("alpha")
            _ = try await h.set(app, ["PLAIN": "mine"])
            let first = try #require(try await h.push(app, types, manifest: manifest).release)
            let config = try await h.store.config(app.id)
            #expect(first.configVersion == config.version && config.version == 2)
            #expect(config.vars["PLAIN"]?.text == "mine" && config.vars["OTHER"]?.text == "theirs")
            #expect(config.vars["SECRET"]?.bytes.count == 64 && config.vars["OPTIONAL"] == nil)
            let entries = try await h.store.formation(app.id).entries
            #expect(entries.mapValues(\.quantity) == ["web": 0, "worker": 2])
            #expect(entries["worker"]?.memoryBytes == 64 << 20)
            let ports = try await h.store.ports(app.id)
            #expect(ports.map(\.name) == ["sip"] && ports[0].targetPort == 5060 && ports[0].drainSeconds == 7)
            #expect(first.manifest.uptimeSeconds == ["web": 3])
            let events = try await h.store.events(after: 0, limit: 100, app: "alpha", for: h.admin)
            let changed = events.filter { $0.kind == "config.changed" }.last
            #expect(changed?.data["set"] == "OTHER,SECRET" && changed?.data["from"] == "app.json")
            try await h.rollOut(app, 1)
            // Unset by hand, and never given again.
            _ = try await h.set(app, ["OTHER": nil])
            try await h.rollOut(app, 2)
            _ = try await h.push(app, slug: 2, types, manifest: manifest)
            #expect(try await h.store.config(app.id).vars.keys.sorted() == ["PLAIN", "SECRET"])
            // It goes along with a change of config and a rollback.
            #expect(try await h.store.release(app.id, version: 2).manifest.uptimeSeconds == ["web": 3])
        }
    }

    @Test func untilOneWasCurrentWhatIsNewIsTakenAndWhatAUserDidStays() async throws {
        try await Harness.run { h in
            let app = try await h.app("alpha")
            _ = try await h.scale(app, ["web": 3])
            _ = try await h.push(app, types, manifest: manifest)
            #expect(try await h.store.formation(app.id).entries.mapValues(\.quantity) == ["web": 3, "worker": 2])
            let secret = try await h.store.config(app.id).vars["SECRET"]
            try await h.store.markReleaseFailed(app.id, version: 1, output: "x", epoch: h.epoch, now: h.now())
            _ = try await h.set(app, ["OTHER": nil])
            try await h.store.deletePort(app.id, name: "sip", actor: h.admin, now: h.now())
            var next = manifest
            next.variables.append(.init(name: "NEW", value: "n"))
            next.formation["worker"]?.quantity = 1
            next.ports?.append(.init(name: "admin", protocol: .tcp, process: "web"))
            _ = try await h.push(app, slug: 2, types, manifest: next)
            let vars = try await h.store.config(app.id).vars
            #expect(vars.keys.sorted() == ["NEW", "PLAIN", "SECRET"] && vars["SECRET"] == secret)
            #expect(try await h.store.formation(app.id).entries.mapValues(\.quantity) == ["web": 3, "worker": 1])
            #expect(try await h.store.ports(app.id).map(\.name) == ["admin"])
            _ = try await h.scale(app, ["worker": 5])
            _ = try await h.push(app, slug: 3, types, manifest: next)
            #expect(try await h.store.formation(app.id).entries["worker"]?.quantity == 5)
        }
    }

    @Test func aPromotionOfAPromotionKeepsIt() async throws {
        try await Harness.run { h in
            let first = try await h.app("first")
            _ = try await h.push(first, types, manifest: manifest)
            try await h.rollOut(first, 1)
            for (from, to) in [("first", "second"), ("second", "third")] {
                let app = try await h.app(to)
                _ = try await h.store.promote(app.id, from: from, actor: h.admin, now: h.now())
                try await h.rollOut(app, 1)
                #expect(try await h.store.ports(app.id).map(\.name) == ["sip"])
                #expect(try await h.store.formation(app.id).entries["worker"]?.quantity == 2)
                #expect(try await h.store.config(app.id).vars.keys.sorted() == ["OTHER", "PLAIN", "SECRET"])
            }
        }
    }

    @Test func aRequiredVariableOrAMissingTypeFailsTheBuildWhole() async throws {
        try await Harness.run { h in
            let app = try await h.app("alpha")
            let needs = AppManifest(variables: [.init(name: "TOKEN", details: "of the API")])
            let error = try await refused(.appFailed) { try await h.push(app, manifest: needs) }
            #expect(error.message.contains("TOKEN: of the API"))
            #expect(try await h.store.releases(app.id, limit: 9, before: nil).isEmpty)
            #expect(try await h.store.formation(app.id).entries.isEmpty)
        }
        try await Harness.run { h in
            let app = try await h.app("alpha")
            try await refused(.appFailed) {
                try await h.push(app, manifest: AppManifest(formation: ["worker": .init(quantity: 1)]))
            }
        }
    }

    @Test func withoutPortsTheDefaultOnesComeAndNoPortsMeansNone() async throws {
        try await Harness.run { h in
            let none = try await h.app("alpha", noPorts: true)
            _ = try await h.push(none, slug: 1, types, manifest: manifest)
            #expect(try await h.store.ports(none.id).isEmpty)
            let plain = try await h.app("beta")
            _ = try await h.push(plain, slug: 2, types, manifest: AppManifest(ports: []))
            #expect(try await h.store.ports(plain.id).isEmpty)
            _ = try await h.push(plain, slug: 3, types, manifest: AppManifest())
            #expect(try await h.store.ports(plain.id).map(\.name) == ["web"])
        }
    }

    @Test func aSlugThatIsReleasedLaterTakesItToo() async throws {
        try await Harness.run { h in
            let app = try await h.app("alpha")
            var full = manifest
            full.release.postdeploy = "./seed"
            _ = try await h.push(app, slug: 4, types, options: Build.Options(buildOnly: true), manifest: full)
            #expect(try await h.store.config(app.id).vars.isEmpty)
            let made = try await h.store.release(
                app.id, slug: try Harness.slug(4).digest, actor: h.admin, now: h.now()
            ).release
            #expect(made.manifest == full.release)
            #expect(try await h.store.config(app.id).vars.keys.sorted() == ["OTHER", "PLAIN", "SECRET"])
            #expect(try await h.store.formation(app.id).entries["worker"]?.quantity == 2)
            #expect(try await h.store.releaseRuns(app.id, version: 1).map(\.name) == ["postdeploy.1"])
        }
    }
}
