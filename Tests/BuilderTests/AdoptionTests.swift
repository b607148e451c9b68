import Builder
import Domain
import Testing

@Suite struct AdoptionTests {
    @Test(arguments: [FaultPoint.buildRecorded, .slugStored, .releaseRecorded, .refMoved])
    func aPushSurvivesADeathAt(point: FaultPoint) async throws {
        let bench = Bench()
        try await bench.running(dieAt: point) { _, service, paasd in
            let push = Task { await bench.push(service) }
            try await bench.eventually("dead") { paasd.isDead }
            push.cancel()
        }
        try await bench.running { _, _, _ in
            try await bench.eventually("finished after \(point)") {
                bench.world.build?.refMoved == true && bench.world.with { $0.volumes.isEmpty && $0.containers.isEmpty }
            }
        }
        bench.world.with { state in
            #expect(state.releases.count == 1)
            #expect(state.refs["refs/heads/main"] == Bench.commit)
            #expect(state.ensured.count == 1)
            #expect(state.pins.count == 1)
        }
    }

    @Test func aPinWithoutABuildIsRemoved() async throws {
        let bench = Bench()
        try await bench.running(dieAt: .refPinned) { _, service, paasd in
            _ = await bench.push(service)
            #expect(paasd.isDead)
        }
        #expect(bench.world.with { $0.pins.count } == 1)
        try await bench.running { _, _, _ in
            try await bench.eventually("unpinned") { bench.world.with { $0.pins.isEmpty } }
        }
    }

    @Test func aRunningBuildIsFollowedFromWhereItWasWithoutLossOrDoubling() async throws {
        let bench = Bench()
        bench.world.with { $0.script = nil }
        let id = try await bench.running { builds, _, _ in
            let build = try await builds.start(
                bench.world.app,
                source: Build.Source(
                    kind: .push, commit: Bench.commit, ref: "refs/heads/main", previousCommit: Bench.zero),
                options: Build.Options(), actor: bench.principal)
            try await bench.eventually("first line") {
                try await bench.log.read(build.id, from: .start, limit: 10).lines.contains("       working")
            }
            return build.id
        }
        let container = InstanceID(id.uuid)
        bench.world.with { $0.output[container, default: []] += ["       more", "       done"] }
        bench.world.exit(container, code: 0)
        let lines = try await bench.running { builds, _, _ in
            _ = try await builds.outcome(id)
            var lines: [String] = []
            for try await line in try await builds.log(id, follow: false) { lines.append(line) }
            return lines
        }
        #expect(lines.prefix(3) == ["       working", "       more", "       done"])
        #expect(bench.world.with { $0.refs["refs/heads/main"] } == Bench.commit)
    }

    @Test func aBuildWhoseContainerIsGoneFailsCleanly() async throws {
        let bench = Bench()
        bench.world.with { $0.script = nil }
        let id = try await bench.running { builds, _, _ in
            let build = try await builds.start(
                bench.world.app, source: Build.Source(kind: .commit, commit: Bench.commit), options: Build.Options(),
                actor: bench.principal)
            try await bench.eventually("first line") { try await bench.log.cursor(build.id) != nil }
            return build.id
        }
        bench.world.with { $0.containers = [:] }
        let outcome = try await bench.running { builds, _, _ in try await builds.outcome(id) }
        #expect(outcome == .refused(reason: "build 1 failed"))
        bench.world.with { #expect($0.volumes.isEmpty && $0.builds[id]?.error?.message.contains("restarted") == true) }
    }

    @Test func whatBelongsToNothingIsRemoved() async throws {
        let bench = Bench()
        let stranger = AppID.random()
        bench.world.with { state in
            if let digest = FakeWorld.digest { state.slugFiles.insert(digest) }
            state.volumes.insert(.random())
            state.repositories.append(stranger)
        }
        try await bench.running { _, _, _ in
            try await bench.eventually("repaired") {
                bench.world.with { $0.slugFiles.isEmpty && $0.volumes.isEmpty && $0.setAside == [stranger] }
            }
        }
    }

    @Test(arguments: [false, true]) func aSupersededReleaseIsAcceptedAfterARestartOnlyIfItWasCurrent(wasCurrent: Bool)
        async throws
    {
        let bench = Bench()
        bench.world.with { $0.rollout = .rolling }
        let id = try await bench.running { builds, service, _ in
            let push = Task { await bench.push(service) }
            try await bench.eventually("released") { !bench.world.with { $0.releases.isEmpty } }
            push.cancel()
            return try #require(bench.world.build?.id)
        }
        bench.world.with { state in
            state.releases[1]?.state = .superseded
            if wasCurrent { state.wasCurrent = [1] }
        }
        let outcome = try await bench.running { builds, _, _ in try await builds.outcome(id) }
        #expect(outcome == (wasCurrent ? .released(version: 1) : .refused(reason: "release v1 was superseded")))
        #expect(bench.world.build?.refMoved == wasCurrent)
    }
}
