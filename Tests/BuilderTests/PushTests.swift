import Builder
import Domain
import Testing

@Suite struct PushTests {
    @Test func aPushBuildsReleasesAndMovesTheRef() async throws {
        let bench = Bench()
        let (decisions, lines) = try await bench.running { _, service, _ in await bench.push(service) }
        #expect(decisions == ["refs/heads/main": .moved])
        let name = bench.world.app.name
        #expect(lines.first == "-----> Commit \(Bench.commit.prefix(12)) received")
        #expect(lines.dropFirst().first?.contains("paasctl builds -a \(name)") == true)
        #expect(lines.dropFirst(2).first == "-----> Build 1 of \(name); its log: paasctl builds log 1 -f -a \(name)")
        #expect(lines.contains("-----> Python app detected"))
        #expect(lines.contains("       Procfile declares types -> web"))
        #expect(lines.contains("-----> Launching..."))
        #expect(lines.contains("       Released v1"))
        bench.world.with { state in
            #expect(state.refs["refs/heads/main"] == Bench.commit)
            #expect(state.head == "main")
            #expect(state.app.deployBranch == "main")
            #expect(state.volumes.isEmpty && state.containers.isEmpty)
            #expect(state.keptCaches == [true])
            #expect(state.ensured.first?.name == "build.1")
            #expect(state.ensured.first?.environmentFiles.map(\.name) == ["GREETING"])
            #expect(
                state.ensured.first?.environment.contains(EnvironmentVariable("SOURCE_VERSION", Bench.commit)) == true)
        }
    }

    @Test func aFailedBuildIsDeclinedAndTheSameCommitBuildsAgain() async throws {
        let bench = Bench()
        bench.world.with { $0.script = (["no such package"], 5) }
        try await bench.running { _, service, _ in
            let first = await bench.push(service)
            #expect(first.decisions == ["refs/heads/main": .refuse("build 1 failed")])
            #expect(first.lines.contains("no such package"))
            #expect(first.lines.contains(" !     Failed to compile Python"))
            bench.world.with { state in
                #expect(state.refs.isEmpty && state.volumes.isEmpty && state.containers.isEmpty)
                #expect(state.keptCaches == [false])
                state.script = ([], 0)
            }
            #expect(await bench.push(service).decisions == ["refs/heads/main": .moved])
        }
    }

    @Test(arguments: [
        (137, true, false, "ran out of memory (limit 2 GiB)"), (137, false, true, "exceeded 25 min"),
        (1, false, false, "no buildpack recognises"), (7, false, false, "volume is full"),
    ]) func failuresAreNamed(code: Int32, memory: Bool, time: Bool, words: String) async throws {
        let bench = Bench()
        bench.world.with {
            $0.script = ([], code)
            $0.outOfMemory = memory
            $0.timedOut = time
        }
        let lines = try await bench.running { _, service, _ in await bench.push(service).lines }
        #expect(lines.contains { $0.lowercased().contains(words.lowercased()) }, "\(lines)")
    }

    @Test func aFailedRolloutIsDeclinedWithItsOutput() async throws {
        let bench = Bench()
        bench.world.with {
            $0.rollout = .failed
            $0.rolloutOutput = "web.1 listens on 127.0.0.1:5000 only\nlast line"
        }
        let (decisions, lines) = try await bench.running { _, service, _ in await bench.push(service) }
        #expect(decisions == ["refs/heads/main": .refuse("release v1 failed")])
        #expect(lines.contains("       web.1 listens on 127.0.0.1:5000 only"))
        #expect(bench.world.with { $0.refs.isEmpty })
    }

    @Test func theFirstReleaseThatRunsIsExplainedAlsoAfterOnesThatFailed() async throws {
        let bench = Bench()
        let hint = "         paasctl ports add NAME --protocol tcp --process web -a dns"
        try await bench.running { _, service, _ in
            bench.world.with { $0.rollout = .failed }
            #expect(await !bench.push(service).lines.contains(hint))
            bench.world.with { $0.rollout = .current }
            #expect(await bench.push(service).lines.contains(hint))
            let next = ("refs/heads/main", Bench.commit, String(repeating: "2", count: 40))
            let third = await bench.push(service, [next])
            #expect(third.decisions == ["refs/heads/main": .moved] && !third.lines.contains(hint))
        }
    }

    @Test func noWaitDoesNotWaitForTheRollout() async throws {
        let bench = Bench()
        bench.world.with { $0.rollout = .pending }
        let decisions = try await bench.running { _, service, _ in
            await bench.push(service, options: ["no-wait"]).decisions
        }
        #expect(decisions == ["refs/heads/main": .moved])
        #expect(bench.world.with { $0.refs["refs/heads/main"] } == Bench.commit)
    }

    @Test func buildOnlyMakesNoReleaseAndLeavesTheRef() async throws {
        let bench = Bench()
        let (decisions, lines) = try await bench.running { _, service, _ in
            await bench.push(service, options: ["build.only"])
        }
        #expect(decisions == ["refs/heads/main": .moved])
        #expect(lines.contains { $0.contains("nothing is deployed") })
        bench.world.with { #expect($0.releases.isEmpty && $0.refs.isEmpty) }
    }

    @Test func unknownOptionsAreRefusedByName() async throws {
        let bench = Bench()
        let (decisions, lines) = try await bench.running { _, service, _ in await bench.push(service, options: ["fast"])
        }
        #expect(decisions == ["refs/heads/main": .refuse("unknown push option \"fast\"")])
        #expect(lines == [" !     unknown push option \"fast\"; known are no-wait, build.only, build.clear-cache"])
        #expect(bench.world.build == nil)
    }

    @Test func otherBranchesAreStoredAndExplained() async throws {
        let bench = Bench()
        let (decisions, lines) = try await bench.running { _, service, _ in
            await bench.push(service, [("refs/heads/feature", Bench.zero, Bench.commit)])
        }
        #expect(decisions == ["refs/heads/feature": .update])
        #expect(lines.first == " !     branch feature is not the deploy branch; to deploy: git push paas feature:main")
    }

    @Test func tagsAreStoredAndExplainedOnce() async throws {
        let bench = Bench()
        let (decisions, lines) = try await bench.running { _, service, _ in
            await bench.push(service, [("refs/tags/v1", Bench.zero, Bench.commit)])
        }
        #expect(decisions == ["refs/tags/v1": .update])
        #expect(lines == ["       Tag v1 was stored, not built; to deploy: git push paas v1^{}:main"])
        let many = try await bench.running { _, service, _ in
            await bench.push(
                service,
                [
                    ("refs/tags/v1", Bench.zero, Bench.commit), ("refs/tags/v2", Bench.zero, Bench.commit),
                    ("refs/tags/old", Bench.commit, Bench.zero), ("refs/notes/commits", Bench.zero, Bench.commit),
                ])
        }
        #expect(many.decisions.values.allSatisfy { $0 == .update })
        #expect(many.lines == ["       2 tags were stored, not built; to deploy: git push paas v1^{}:main"])
    }

    @Test func mainWinsOverMasterInOnePushAndMasterAloneDeploys() async throws {
        let both = Bench()
        let refs = [("refs/heads/master", Bench.zero, Bench.commit), ("refs/heads/main", Bench.zero, Bench.commit)]
        let decisions = try await both.running { _, service, _ in await both.push(service, refs).decisions }
        #expect(decisions == ["refs/heads/main": .moved, "refs/heads/master": .update])
        let master = Bench()
        let alone = try await master.running { _, service, _ in await master.push(service, [refs[0]]).decisions }
        #expect(alone == ["refs/heads/master": .moved])
        #expect(master.world.app.deployBranch == "master")
    }

    @Test func deletingTheDeployBranchIsRefused() async throws {
        let bench = Bench()
        bench.world.with { $0.app.deployBranch = "main" }
        let decisions = try await bench.running { _, service, _ in
            await bench.push(
                service, [("refs/heads/main", Bench.commit, Bench.zero), ("refs/heads/old", Bench.commit, Bench.zero)]
            ).decisions
        }
        #expect(
            decisions == [
                "refs/heads/main": .refuse("deleting the deploy branch is refused"), "refs/heads/old": .update,
            ])
    }

    @Test func aSecondPushIsRefusedAtOnceAndTheFirstCanBeCancelled() async throws {
        let bench = Bench()
        bench.world.with { $0.script = nil }
        try await bench.running { builds, service, _ in
            async let first = bench.push(service)
            try await bench.eventually("the build runs") { !bench.world.with { $0.containers.isEmpty } }
            let second = await bench.push(service)
            #expect(second.decisions == ["refs/heads/main": .refuse("build 1 is in progress")])
            #expect(second.lines.contains { $0.contains("paasctl builds cancel 1") })
            #expect(bench.world.with { $0.pins.count } == 1)
            if let build = bench.world.build { try await builds.cancel(build.id) }
            #expect(await first.decisions == ["refs/heads/main": .refuse("build 1 cancelled")])
        }
        bench.world.with { #expect($0.containers.isEmpty && $0.volumes.isEmpty) }
        #expect(bench.world.build?.state == .cancelled)
    }

    @Test func aLostPusherDoesNotEndTheBuild() async throws {
        let bench = Bench()
        struct Gone: Error {}
        try await bench.running { _, service, _ in
            _ = await service.handle(
                PushRequest(
                    app: bench.world.app.id, principal: bench.principal,
                    commands: [PushCommand(ref: "refs/heads/main", old: Bench.zero, new: Bench.commit)], options: [])
            ) { _ in throw Gone() }
            try await bench.eventually("the ref moves") {
                bench.world.with { $0.refs["refs/heads/main"] == Bench.commit }
            }
        }
    }

    @Test func viewersMayNotPush() async throws {
        let bench = Bench()
        let decisions = try await bench.running { _, service, _ in
            await service.handle(
                PushRequest(
                    app: bench.world.app.id,
                    principal: Principal(token: .random(), name: "v", role: .viewer, space: nil),
                    commands: [PushCommand(ref: "refs/heads/main", old: Bench.zero, new: Bench.commit)], options: [])
            ) { _ in }
        }
        #expect(decisions == ["refs/heads/main": .refuse("this token may not push to dns")])
    }

    @Test(arguments: [
        (
            TreeFacts(
                files: 0, totalBytes: 0, largestFile: nil, largestBytes: 0, lfsPointers: [], gitlinks: [],
                hasGitmodules: false), "holds no files"
        ),
        (
            TreeFacts(
                files: 1, totalBytes: 1, largestFile: nil, largestBytes: 0, lfsPointers: ["m.bin"], gitlinks: [],
                hasGitmodules: false), "m.bin"
        ),
        (
            TreeFacts(
                files: 1, totalBytes: 2 << 30, largestFile: "big", largestBytes: 2 << 30, lfsPointers: [], gitlinks: [],
                hasGitmodules: false), "2 GiB"
        ),
    ]) func treesThatCanNotBeBuilt(facts: TreeFacts, words: String) async throws {
        let bench = Bench()
        bench.world.with { $0.facts = facts }
        let (decisions, lines) = try await bench.running { _, service, _ in await bench.push(service) }
        #expect(decisions == ["refs/heads/main": .refuse("build 1 failed")])
        #expect(lines.contains { $0.contains(words) }, "\(lines)")
        #expect(bench.world.with { $0.ensured.isEmpty })
    }

    @Test func aBrokenProcfileFailsBeforeTheCompile() async throws {
        let bench = Bench()
        bench.world.with { $0.files["app/Procfile"] = "web ./run\n" }
        let lines = try await bench.running { _, service, _ in await bench.push(service).lines }
        #expect(lines.contains { $0.contains("the colon is required") })
        #expect(bench.world.with { $0.ensured.isEmpty && $0.volumes.isEmpty })
    }

    @Test func defaultTypesComeFromTheBuildpackAndANothingRunsHintIsPrinted() async throws {
        let bench = Bench()
        bench.world.with {
            $0.files["app/Procfile"] = "dns: ./dns\n"
            $0.files["result/release.yml"] = "---\ndefault_process_types:\n  worker: ./work\n"
        }
        let lines = try await bench.running { _, service, _ in await bench.push(service).lines }
        #expect(lines.contains("       Default types for Python -> worker"))
        #expect(lines.contains("         paasctl scale dns=1 -a dns"))
    }

    @Test func aPushDuringTheRolloutOfAnotherLeavesTheRefOnTheNewerCommit() async throws {
        let bench = Bench()
        let newer = String(repeating: "2", count: 40)
        bench.world.with { $0.rollout = .rolling }
        try await bench.running { _, service, _ in
            async let first = bench.push(service)
            try await bench.eventually("released") { bench.world.with { $0.releases[1] != nil } }
            // The ref has not moved yet, so git names the same old commit.
            async let second = bench.push(service, [("refs/heads/main", Bench.zero, newer)])
            try await bench.eventually("released") { bench.world.with { $0.releases[2] != nil } }
            bench.world.with { $0.releases[1]?.state = .current }
            #expect(await first.decisions == ["refs/heads/main": .moved])
            bench.world.with { state in
                state.wasCurrent = [1]
                state.releases[1]?.state = .superseded
                state.releases[2]?.state = .current
            }
            let (decisions, lines) = await second
            #expect(decisions == ["refs/heads/main": .moved])
            #expect(!lines.contains { $0.contains("was left alone") }, "\(lines)")
        }
        #expect(bench.world.with { $0.refs["refs/heads/main"] } == newer)
    }

    @Test func aRefThatSomebodyElseMovedIsLeftAlone() async throws {
        let bench = Bench()
        let other = String(repeating: "3", count: 40)
        bench.world.with { $0.rollout = .rolling }
        let lines = try await bench.running { _, service, _ in
            async let push = bench.push(service)
            try await bench.eventually("released") { bench.world.with { $0.releases[1] != nil } }
            bench.world.with { state in
                state.refs["refs/heads/main"] = other
                state.releases[1]?.state = .current
            }
            return await push.lines
        }
        #expect(lines.contains { $0.contains("was left alone") })
        #expect(bench.world.with { $0.refs["refs/heads/main"] } == other)
    }

    @Test func anAnnotatedTagPushedToTheDeployBranchIsNamed() async throws {
        let bench = Bench()
        bench.world.with { $0.tags = [Bench.commit] }
        let (decisions, _) = try await bench.running { _, service, _ in await bench.push(service) }
        guard case .refuse(let reason) = decisions["refs/heads/main"] else {
            Issue.record("not refused")
            return
        }
        #expect(reason.hasPrefix("main must be a commit") && reason.contains("git push paas TAG^{}:main"))
        #expect(bench.world.with { $0.builds.isEmpty && $0.pins.isEmpty })
    }
}
