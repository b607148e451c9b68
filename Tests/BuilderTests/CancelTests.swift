import Builder
import Domain
import Testing

/// A wish to cancel is heard wherever a build is.
@Suite struct CancelTests {
    enum Place: String, CaseIterable, Sendable {
        case checkout, build, packing
        /// What was called once the build is there.
        var call: String { self == .checkout ? "checkout" : "packSlug" }
    }

    @Test(arguments: Place.allCases) func aBuildIsCancelledWhereverItIs(_ place: Place) async throws {
        let bench = Bench()
        bench.world.with { world in
            world.checksOutForever = place == .checkout
            world.packsForever = place == .packing
            if place == .build { world.script = nil }
        }
        try await bench.running { builds, service, _ in
            async let pushed = bench.push(service)
            try await bench.eventually("it is there") {
                bench.world.with {
                    place == .build ? !$0.containers.isEmpty : $0.calls[place.call, default: 0] > 0
                }
            }
            let build = try #require(bench.world.build)
            let began = ContinuousClock.now
            try await builds.cancel(build.id)
            #expect(await pushed.decisions == ["refs/heads/main": .refuse("build 1 cancelled")])
            #expect(ContinuousClock.now - began < .seconds(2))
            bench.world.with { #expect($0.containers.isEmpty && $0.volumes.isEmpty && $0.slugFiles.isEmpty) }
        }
        #expect(bench.world.build?.state == .cancelled)
    }
}
