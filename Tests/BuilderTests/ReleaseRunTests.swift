import Builder
import Domain
import Testing

/// What a pusher sees of runs of releases and of `app.json`.
@Suite struct ReleaseRunTests {
    static func run(
        _ state: ReleaseRun.State, _ instance: InstanceID, kind: ReleaseRun.Kind = .release, reason: String? = nil
    ) -> ReleaseRun {
        ReleaseRun(
            kind: kind, version: 1, state: state, command: "./x", instance: instance,
            exitCode: state == .succeeded ? 0 : 3, reason: reason, output: "all of it")
    }

    @Test func itsLinesComeWhileItRunsAndItsExitCodeAfterThem() async throws {
        let bench = Bench()
        let id = InstanceID.random()
        bench.world.with { state in
            state.rollout = .rolling
            state.runs[1] = [Self.run(.running, id)]
            state.output[id] = ["first line"]
        }
        let lines = try await bench.running { builds, service, _ in
            async let pushed = bench.push(service)
            try await bench.eventually("the first line is shown while it runs") {
                guard let build = bench.world.build else { return false }
                return try await bench.log.read(build.id, from: .start, limit: 1000).lines.contains("       first line")
            }
            bench.world.with { state in
                state.output[id]?.append("second line")
                state.runs[1] = [Self.run(.succeeded, id)]
                state.releases[1]?.state = .current
            }
            return await pushed.lines
        }
        let begin = try #require(lines.firstIndex(of: "-----> Running release command..."))
        #expect(
            Array(lines[begin...].prefix(4)) == [
                "-----> Running release command...", "       first line", "       second line",
                "       release.1 exited with status 0",
            ])
        #expect(lines.contains("       Released v1"))
    }

    @Test(arguments: [ReleaseRun.Kind.release, .postdeploy]) func linesThatCantBeShownDeclineNothing(
        kind: ReleaseRun.Kind
    ) async throws {
        let bench = Bench()
        let id = InstanceID.random()
        bench.world.with { state in
            state.runs[1] = [Self.run(.succeeded, id, kind: kind)]
            state.output[id] = ["a line"]
            state.broken = ["logs of \(id)"]
        }
        let (decisions, lines) = try await bench.running { _, service, _ in await bench.push(service) }
        #expect(decisions == ["refs/heads/main": .moved])
        let told = lines.filter { $0.hasPrefix(" !     Its lines can't be shown now; see: paasctl logs -p") }
        #expect(told.count == 1 && told.first?.hasSuffix("-p \(kind.rawValue).1") == true, "\(lines)")
        #expect(lines.contains("       \(kind.rawValue).1 exited with status 0"))
    }

    @Test func aFailureDeclinesThePushAndIsToldOnce() async throws {
        let bench = Bench()
        let id = InstanceID.random()
        bench.world.with { state in
            state.rollout = .failed
            state.rolloutOutput = "release.1 exited with status 3\nOutput of release.1:\nno such table"
            state.runs[1] = [Self.run(.failed, id, reason: "release.1 exited with status 3")]
            state.output[id] = ["no such table"]
        }
        let (decisions, lines) = try await bench.running { _, service, _ in await bench.push(service) }
        #expect(decisions == ["refs/heads/main": .refuse("release v1 failed")])
        #expect(lines.filter { $0.contains("no such table") } == ["       no such table"])
        #expect(lines.contains(" !     release.1 exited with status 3"))
        #expect(lines.contains { $0.hasPrefix(" !     Release v1 failed;") })
    }

    @Test func anotherPaasdGoesOnWithTheNextLine() async throws {
        let bench = Bench()
        let id = InstanceID.random()
        bench.world.with { state in
            state.rollout = .rolling
            state.runs[1] = [Self.run(.running, id)]
            state.output[id] = ["one", "two"]
        }
        try await bench.running { _, service, paasd in
            let pushing = Task { await bench.push(service) }
            try await bench.eventually("the first lines are shown") {
                guard let build = bench.world.build else { return false }
                return try await bench.log.read(build.id, from: .start, limit: 1000).lines.contains("       two")
            }
            paasd.kill()
            pushing.cancel()
            _ = await pushing.value
        }
        bench.world.with { state in
            state.output[id] = ["one", "two", "three"]
            state.runs[1] = [Self.run(.succeeded, id)]
            state.releases[1]?.state = .current
        }
        let build = try #require(bench.world.build)
        try await bench.running { _, _, _ in
            try await bench.eventually("the ref moves") { bench.world.with { $0.builds[build.id]?.refMoved == true } }
        }
        let lines = try await bench.log.read(build.id, from: .start, limit: 1000).lines
        for line in ["-----> Running release command...", "       one", "       two", "       three"] {
            #expect(lines.filter { $0 == line }.count == 1, "\(line): \(lines)")
        }
    }

    @Test func aPostdeployScriptThatFailsLeavesTheRelease() async throws {
        let bench = Bench()
        let id = InstanceID.random()
        bench.world.with { state in
            state.runs[1] = [Self.run(.failed, id, kind: .postdeploy, reason: "postdeploy.1 exited with status 3")]
            state.output[id] = ["seeding"]
        }
        let (decisions, lines) = try await bench.running { _, service, _ in await bench.push(service) }
        #expect(decisions == ["refs/heads/main": .moved])
        let begin = try #require(lines.firstIndex(of: "-----> Running postdeploy script..."))
        #expect(
            Array(lines[begin...].prefix(4)) == [
                "-----> Running postdeploy script...", "       seeding", " !     postdeploy.1 exited with status 3",
                " !     v1 stays. The script is not run again by itself.",
            ])
        #expect(lines.firstIndex(of: "       Released v1").map { $0 < begin } == true)
    }

    @Test func theTypesOfRunsAreNoOthers() async throws {
        let bench = Bench()
        bench.world.with { $0.files["app/Procfile"] = "web: ./run\nrelease: ./migrate\n" }
        let fine = try await bench.running { _, service, _ in await bench.push(service) }
        #expect(fine.lines.contains("       Procfile declares types -> web, release"))
        #expect(!fine.lines.contains { $0.hasPrefix(" !") })
        for procfile in ["release: ./migrate\n", "web: ./run\npostdeploy: ./x\n"] {
            let other = Bench()
            other.world.with { $0.files["app/Procfile"] = procfile }
            let refused = try await other.running { _, service, _ in await other.push(service) }
            #expect(refused.decisions == ["refs/heads/main": .refuse("build 1 failed")])
        }
    }

    // MARK: app.json

    @Test func theFirstBuildSeesItsVariablesAndTheSlugTakesItAlong() async throws {
        let bench = Bench()
        bench.world.with {
            $0.files["app/app.json"] =
                #"{"env": {"GREETING": "theirs", "NEW": "theirs", "SECRET": {"generator": "secret"}}, "stack": "heroku-24", "scripts": {"release": "x", "postdeploy": "./seed"}}"#
        }
        let (decisions, lines) = try await bench.running { _, service, _ in await bench.push(service) }
        #expect(decisions == ["refs/heads/main": .moved])
        let files = bench.world.with { $0.ensured.first?.environmentFiles ?? [] }
        let values = Dictionary(
            uniqueKeysWithValues: files.map { ($0.name, String(decoding: $0.value, as: UTF8.self)) })
        #expect(values["GREETING"] == "hello" && values["NEW"] == "theirs" && values["SECRET"]?.count == 64)
        #expect(lines.contains("         config vars: GREETING, NEW, SECRET (generated)"))
        #expect(lines.contains { $0.hasPrefix(" !     app.json names stack") })
        #expect(lines.contains { $0.hasPrefix(" !     app.json: scripts.release is not used") })
        #expect(!lines.contains { $0.contains(values["SECRET"] ?? "-") || $0.contains("theirs") })
        #expect(bench.world.with { $0.manifest?.release.postdeploy } == "./seed")
    }

    @Test(arguments: [
        (#"{"env": {"TOKEN": {"description": "of the API"}}}"#, "TOKEN: of the API"),
        (#"{"env": 1}"#, "app.json: env must be an object"), ("{", "app.json is not valid JSON"),
    ]) func whatIsMissingOrWrongFailsBeforeTheBuild(text: String, words: String) async throws {
        let bench = Bench()
        bench.world.with { $0.files["app/app.json"] = text }
        let (decisions, lines) = try await bench.running { _, service, _ in await bench.push(service) }
        #expect(decisions == ["refs/heads/main": .refuse("build 1 failed")])
        #expect(lines.contains { $0.contains(words) }, "\(lines)")
        #expect(bench.world.with { $0.ensured.isEmpty })
    }

    @Test func aLaterBuildNeedsNoVariables() async throws {
        let bench = Bench()
        bench.world.with {
            $0.app.currentRelease = 1
            $0.files["app/app.json"] = #"{"env": {"TOKEN": {}, "NEW": "x"}, "formation": {"none": {"quantity": 1}}}"#
        }
        let (decisions, _) = try await bench.running { _, service, _ in await bench.push(service) }
        #expect(decisions == ["refs/heads/main": .moved])
        #expect(bench.world.with { $0.ensured.first?.environmentFiles.map(\.name) } == ["GREETING"])
    }

    @Test func aFormationForATypeThatIsNotThereFailsTheFirst() async throws {
        let bench = Bench()
        bench.world.with { $0.files["app/app.json"] = #"{"formation": {"none": {"quantity": 1}}}"# }
        let (decisions, lines) = try await bench.running { _, service, _ in await bench.push(service) }
        #expect(decisions == ["refs/heads/main": .refuse("build 1 failed")])
        #expect(lines.contains { $0.contains("formation names the process type none") }, "\(lines)")
    }
}
