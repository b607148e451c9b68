import Builder
import Domain
import Testing

/// A wish to cancel is heard wherever a build is.
@Suite struct CancelTests {
    enum Place: String, CaseIterable, Sendable {
        case inspect, checkout, sealSource, build, packing
        /// What was called once the build is there.
        var call: String { self == .packing ? "packSlug" : rawValue }
    }

    @Test(arguments: Place.allCases) func aBuildIsCancelledWhereverItIs(_ place: Place) async throws {
        let bench = Bench()
        bench.world.with { world in
            if place != .build && place != .packing { world.endless = [place.call] }
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

    @Test func aBuildOfAnArchiveIsCancelledWhileTheArchiveIsCopied() async throws {
        let bench = Bench()
        bench.world.with { $0.endless = ["placeSource"] }
        try await bench.running { builds, _, _ in
            let upload = try await builds.receive(bench.world.app, actor: bench.principal)
            try await upload.write([1])
            try await upload.finish()
            let build = try await builds.start(
                bench.world.app, source: Build.Source(kind: .tar), options: Build.Options(), upload: upload,
                actor: bench.principal)
            try await bench.eventually("it is copied") { bench.world.with { $0.calls["placeSource", default: 0] > 0 } }
            let began = ContinuousClock.now
            try await builds.cancel(build.id)
            try await bench.eventually("it ended") { bench.world.build?.state == .cancelled }
            #expect(ContinuousClock.now - began < .seconds(2))
        }
    }
}
