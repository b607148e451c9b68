import Builder
import Domain
import Testing

/// Parts that are away or fail while builds and pushes go on.
@Suite struct OutageTests {
    @Test func aPushOutlivesAnOutageOfTheDatabase() async throws {
        let bench = Bench()
        bench.world.with { state in
            state.script = nil
            state.away = ["app"]
            state.losesNextAnswer = true
        }
        let (decisions, lines) = try await bench.running { _, service, _ in
            async let push = bench.push(service)
            try await bench.eventually("asked in vain") { bench.world.with { $0.calls["app"] ?? 0 } > 1 }
            bench.world.with { $0.away = [] }
            try await bench.eventually("the build runs") { !bench.world.with { $0.containers.isEmpty } }
            // Nobody knows how the build does, and that is no reason to decline the push.
            bench.world.with { $0.away = ["build"] }
            if let id = bench.world.with({ $0.containers.keys.first }) { bench.world.exit(id, code: 0) }
            try await bench.eventually("asked in vain") { bench.world.with { $0.calls["build"] ?? 0 } > 3 }
            bench.world.with { $0.away = [] }
            return await push
        }
        #expect(decisions == ["refs/heads/main": .moved])
        #expect(lines.filter { $0.contains("Released v1") }.count == 1)
        #expect(bench.world.with { $0.builds.count } == 1)
    }

    @Test func whyABuildCanNotBeOpenedIsPassedOn() async throws {
        let bench = Bench()
        let (decisions, _) = try await bench.running { _, service, _ in
            // Between the look at the app and the opening of the build.
            bench.world.with { $0.broken = ["createBuild"] }
            let first = await bench.push(service)
            #expect(first.decisions == ["refs/heads/main": .refuse("createBuild fails")])
            bench.world.with {
                $0.broken = []
                $0.refusesBuilds = true
            }
            return await bench.push(service)
        }
        #expect(decisions == ["refs/heads/main": .refuse("dns is being deleted")])
        #expect(bench.world.with { $0.pins.isEmpty })
    }

    @Test func aWishToCancelThatIsOnlyInTheDatabaseIsHeard() async throws {
        let bench = Bench()
        bench.world.with { $0.script = nil }
        let decisions = try await bench.running { _, service, _ in
            async let push = bench.push(service)
            try await bench.eventually("the build runs") { !bench.world.with { $0.containers.isEmpty } }
            bench.world.with { state in state.cancelled.formUnion(state.builds.keys) }
            return await push.decisions
        }
        #expect(decisions == ["refs/heads/main": .refuse("build 1 cancelled")])
        #expect(bench.world.with { $0.containers.isEmpty && $0.volumes.isEmpty })
    }

    @Test func aBuildWhoseAppIsGoneLeavesNothing() async throws {
        let bench = Bench()
        bench.world.with { $0.script = nil }
        try await bench.running { _, service, _ in
            async let push = bench.push(service)
            try await bench.eventually("the build runs") { !bench.world.with { $0.containers.isEmpty } }
            bench.world.with { $0.builds = [:] }
            if let id = bench.world.with({ $0.containers.keys.first }) { bench.world.exit(id, code: 0) }
            guard case .refuse = await push.decisions["refs/heads/main"] else {
                Issue.record("the push was not refused")
                return
            }
            try await bench.eventually("gone") { bench.world.with { $0.containers.isEmpty && $0.volumes.isEmpty } }
        }
    }

    @Test func whatCanNotBeRemovedAtTheEndOfABuildIsRemovedLater() async throws {
        let bench = Bench()
        bench.world.with { $0.broken = ["finishBuildVolume"] }
        try await bench.running { _, service, _ in
            #expect(await bench.push(service).decisions == ["refs/heads/main": .moved])
            #expect(bench.world.with { $0.volumes.count } == 1)
            bench.world.with { $0.broken = [] }
            try await bench.eventually("removed") { bench.world.with { $0.volumes.isEmpty } }
        }
        // With the cache that the successful build made.
        #expect(bench.world.with { $0.keptCaches } == [true])
    }

    @Test(arguments: [false, true]) func anAppThatIsBeingDeletedGetsNoCache(isLeftToTheSweep: Bool) async throws {
        let bench = Bench()
        bench.world.with { $0.script = nil }
        try await bench.running { _, service, _ in
            async let push = bench.push(service)
            try await bench.eventually("the build runs") { !bench.world.with { $0.containers.isEmpty } }
            bench.world.with { state in
                state.app.deleting = true
                if isLeftToTheSweep { state.broken = ["finishBuildVolume"] }
            }
            if let id = bench.world.with({ $0.containers.keys.first }) { bench.world.exit(id, code: 0) }
            _ = await push
            bench.world.with { $0.broken = [] }
            try await bench.eventually("removed") { bench.world.with { $0.volumes.isEmpty } }
        }
        #expect(bench.world.with { $0.keptCaches } == [false])
    }

    @Test func theLogOfABuildThatNobodyDrivesAnyMoreDoesNotEndAsIfItWereOver() async throws {
        let bench = Bench()
        bench.world.with { $0.script = nil }
        let builds = try bench.coordinator(FakePaasd(bench.world))
        let loop = Task { try await builds.run() }
        let build = try await builds.start(
            bench.world.app, source: Build.Source(kind: .commit, commit: Bench.commit), options: Build.Options(),
            actor: bench.principal)
        try await bench.eventually("the build runs") { !bench.world.with { $0.containers.isEmpty } }
        let lines = try await builds.log(build.id, follow: true)
        loop.cancel()
        let error = await #expect(throws: PaaSError.self) { for try await _ in lines {} }
        #expect(error?.code == .unavailable)
        _ = await loop.result
    }

    @Test func aCancelledBuildIsOverOnlyWhenItsContainerIs() async throws {
        let bench = Bench()
        bench.world.with { $0.script = nil }
        try await bench.running { builds, service, _ in
            async let push = bench.push(service)
            try await bench.eventually("the build runs") { !bench.world.with { $0.containers.isEmpty } }
            bench.world.with { $0.away = ["stop"] }
            if let build = bench.world.build { try await builds.cancel(build.id) }
            try await bench.eventually("asked in vain") { bench.world.with { $0.calls["stop"] ?? 0 } > 2 }
            #expect(bench.world.build?.state == .running)
            bench.world.with { $0.away = [] }
            #expect(await push.decisions == ["refs/heads/main": .refuse("build 1 cancelled")])
        }
        #expect(bench.world.with { $0.endedTooEarly.isEmpty && $0.containers.isEmpty })
    }

    @Test func aRefThatCanNotBeMovedIsTriedAgainWithoutFillingTheLog() async throws {
        let bench = Bench()
        bench.world.with { $0.broken = ["updateRef"] }
        try await bench.running { _, service, _ in
            _ = await bench.push(service)
            try await bench.eventually("tried again") { bench.world.with { $0.calls["updateRef"] ?? 0 } >= 3 }
            bench.world.with { $0.broken = [] }
            try await bench.eventually("moved") { bench.world.build?.refMoved == true }
        }
        let id = try #require(bench.world.build?.id)
        let lines = try await bench.log.read(id, from: .start, limit: 1000).lines
        #expect(lines.filter { $0.contains("updateRef fails") }.count == 1)
    }

    @Test func oneThingThatCanNotBeRepairedKeepsNothingElseFromIt() async throws {
        let bench = Bench()
        let digests = (1...3).compactMap { SlugDigest(hex: String(repeating: "\($0)", count: 64)) }
        bench.world.with { state in
            state.slugFiles = Set(digests)
            state.broken = ["removeSlug \(digests[1])"]
            state.away = ["listSlugs"]
            state.repositories.append(.random())
        }
        try await bench.running { _, service, _ in
            // Builds go on meanwhile, but for what the repair could take for a file without a row.
            async let push = bench.push(service)
            try await bench.eventually("set aside") { bench.world.with { $0.setAside.count } == 1 }
            try await bench.eventually("built") { bench.world.with { !$0.ensured.isEmpty } }
            bench.world.with { $0.away = [] }
            #expect(await push.decisions == ["refs/heads/main": .moved])
            #expect(bench.world.with { $0.slugFiles }.subtracting([FakeWorld.digest].compactMap { $0 }) == [digests[1]])
        }
    }

    @Test func aPinOfABuildThatIsBeingOpenedStays() async throws {
        let bench = Bench()
        bench.world.with { $0.away = ["list", "createBuild"] }
        let decisions = try await bench.running { _, service, _ in
            async let push = bench.push(service)
            try await bench.eventually("pinned") { !bench.world.with { $0.pins.isEmpty } }
            bench.world.with { $0.away = ["createBuild"] }
            try await bench.eventually("looked at") { bench.world.with { $0.calls["knownBuilds"] ?? 0 } > 0 }
            bench.world.with { $0.away = [] }
            return await push.decisions
        }
        #expect(decisions == ["refs/heads/main": .moved])
        #expect(bench.world.with { $0.pins.count } == 1)
    }

    @Test func aFullDiskIsToldAtOnce() async throws {
        let bench = Bench()
        bench.world.with { $0.full = ["createBuildVolume"] }
        let (decisions, lines) = try await bench.running { _, service, _ in await bench.push(service) }
        #expect(decisions == ["refs/heads/main": .refuse("build 1 failed")])
        #expect(lines.contains { $0.contains("No room for createBuildVolume") }, "\(lines)")
        #expect(bench.world.with { $0.calls["createBuildVolume"] } == 1)
        #expect(bench.world.build?.error?.code == .exhausted)
    }
}
