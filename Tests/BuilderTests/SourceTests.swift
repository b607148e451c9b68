import Builder
import Domain
import Testing

/// Builds of what is not pushed: a commit that is here, a repository elsewhere, an archive.
@Suite struct SourceTests {
    private static let url = "https://git.example/dns.git"

    private func build(
        _ bench: Bench, _ builds: BuildCoordinator, _ source: Build.Source, options: Build.Options = Build.Options()
    ) async throws -> (build: Build, outcome: BuildOutcome, lines: [String]) {
        let opened = try await builds.start(
            bench.world.app, source: source, options: options, actor: bench.principal)
        return try await ended(bench, builds, opened)
    }

    private func ended(_ bench: Bench, _ builds: BuildCoordinator, _ opened: Build) async throws -> (
        build: Build, outcome: BuildOutcome, lines: [String]
    ) {
        let outcome = try await builds.outcome(opened.id)
        var lines: [String] = []
        for try await line in try await builds.log(opened.id, follow: false) { lines.append(line) }
        return (try #require(bench.world.with { $0.builds[opened.id] }), outcome, lines)
    }

    private func environment(_ bench: Bench) -> [String: String] {
        let variables = bench.world.with { $0.ensured.last?.environment } ?? []
        return Dictionary(uniqueKeysWithValues: variables.map { ($0.name, String(decoding: $0.value, as: UTF8.self)) })
    }

    @Test func aRepositoryElsewhereIsFetchedByTheBuildAndMovesNoRef() async throws {
        let bench = Bench()
        bench.world.with {
            $0.files["result/build.json"] = FakeWorld.report(
                source: #"{"commit":"\#(Bench.commit)","tree":"\#(String(repeating: "2", count: 40))"}"#)
        }
        let (build, outcome, lines) = try await bench.running { builds, _, _ in
            try await self.build(
                bench, builds, Build.Source(kind: .git, ref: "v1.2", url: Self.url))
        }
        #expect(outcome == .released(version: 1))
        #expect(build.source.commit == Bench.commit && build.refMoved)
        #expect(lines.contains("-----> Launching...") && lines.contains("       Released v1"))
        let told = environment(bench)
        let source = try JSONParser.parse(Array(try #require(told["PAAS_SOURCE"]).utf8))
        #expect(
            source["kind"] == .string("git") && source["url"] == .string(Self.url) && source["ref"] == .string("v1.2"))
        #expect(told["SOURCE_VERSION"] == nil && told["PAAS_NETWORK"] == nil)
        #expect(told["PAAS_CHECKOUT_LIMIT_BYTES"] == "\(1 << 30)" && told["PAAS_BUILDPACK_DIRS"] == "/srv/packs")
        bench.world.with { state in
            #expect(state.refs.isEmpty && state.pins.isEmpty && state.head == nil)
            #expect(state.sourceSteps == ["seal"])
            #expect(state.ensured.first?.network == .space)
            let source = state.evidence.first?.provenance.source
            #expect(source?.tree == String(repeating: "2", count: 40) && source?.url == Self.url)
        }
    }

    @Test func aRepeatedRequestFindsItsBuild() async throws {
        let bench = Bench()
        let (id, commit) = (BuildID.random(), Build.Source(kind: .commit, commit: Bench.commit))
        @Sendable func start(_ builds: BuildCoordinator) async throws -> Build {
            try await builds.start(
                bench.world.app, id: id, source: commit, options: Build.Options(), upload: nil, actor: bench.principal)
        }
        try await bench.running { builds, _, _ in
            // The row is made, and its answer lost: as if paasd had been killed.
            bench.world.with { $0.losesNextAnswer = true }
            await #expect(throws: PaaSError.self) { _ = try await start(builds) }
            let again = try await start(builds)
            #expect(again.id == id)
            let ended = try await self.ended(bench, builds, again)
            #expect(ended.outcome == .released(version: 1))
            #expect(try await start(builds).id == id)
        }
        bench.world.with { state in
            #expect(state.builds.count == 1 && Set(state.ensured.map(\.id)).count == 1)
        }
    }

    @Test func withoutItsCommitAFetchedSourceIsNoRelease() async throws {
        let bench = Bench()
        let (build, outcome, _) = try await bench.running { builds, _, _ in
            try await self.build(bench, builds, Build.Source(kind: .git, url: Self.url))
        }
        #expect(outcome == .refused(reason: "build 1 failed"))
        #expect(build.error?.message.contains("no commit") == true)
    }

    @Test func anArchiveIsReceivedBuiltAndRemoved() async throws {
        let bench = Bench()
        let digest = String(repeating: "c", count: 64)
        bench.world.with {
            $0.files["result/build.json"] = FakeWorld.report(source: #"{"sha256":"\#(digest)"}"#)
            $0.script = nil
        }
        try await bench.running { builds, _, _ in
            let upload = try await builds.receive(bench.world.app, actor: bench.principal)
            for part in ["first ", "second"] { try await upload.write(Array(part.utf8)) }
            try await upload.finish()
            let opened = try await builds.start(
                bench.world.app, source: Build.Source(kind: .tar), options: Build.Options(), upload: upload,
                actor: bench.principal)
            #expect(opened.id == upload.build)
            try await bench.eventually("running") { bench.world.with { !$0.ensured.isEmpty } }
            #expect(Bench.files(bench.directory + "-uploads") == ["\(opened.id).tar"])
            #expect(bench.world.with { $0.sourceSteps } == ["place", "seal"])
            bench.world.exit(InstanceID(opened.id.uuid), code: 0)
            let (build, outcome, _) = try await self.ended(bench, builds, opened)
            #expect(outcome == .released(version: 1) && build.source.commit == nil)
        }
        #expect(Bench.files(bench.directory + "-uploads").isEmpty)
        #expect(environment(bench)["PAAS_SOURCE"] == #"{"kind":"tar"}"#)
        #expect(bench.world.with { $0.evidence.first?.provenance.source.sha256 } == digest)
    }

    @Test func anArchiveOfAnInterruptedBuildStaysAndOneWithoutABuildGoes() async throws {
        let bench = Bench()
        bench.world.with { $0.script = nil }
        let id = try await bench.running { builds, _, _ in
            let upload = try await builds.receive(bench.world.app, actor: bench.principal)
            try await upload.write([1])
            try await upload.finish()
            let build = try await builds.start(
                bench.world.app, source: Build.Source(kind: .tar), options: Build.Options(), upload: upload,
                actor: bench.principal)
            try await bench.eventually("running") { bench.world.with { !$0.ensured.isEmpty } }
            return build.id
        }
        let orphan = try await bench.uploads.begin(app: .random())
        try await orphan.write([1])
        try await orphan.finish()
        // As a new process sees them.
        let next = FileUploads(directory: bench.directory + "-uploads", limitBytes: 10)
        #expect(Set(try await next.leftovers()) == [id, orphan.build])
        try await bench.running(uploads: next) { _, _, _ in
            try await bench.eventually("swept") { Bench.files(bench.directory + "-uploads") == ["\(id).tar"] }
            bench.world.exit(InstanceID(id.uuid), code: 5)
            try await bench.eventually("removed with its build") {
                Bench.files(bench.directory + "-uploads").isEmpty
            }
        }
    }

    @Test func uploadsHaveLimits() async throws {
        let bench = Bench()
        let folder = bench.directory + "-uploads"
        let uploads = FileUploads(directory: folder, limitBytes: 4, idleLimit: .zero)
        let (first, second) = (AppID.random(), AppID.random())
        let large = try await uploads.begin(app: first)
        try await large.write([1, 2, 3])
        let error = await #expect(throws: PaaSError.self) { try await large.write([4, 5]) }
        #expect(error?.code == .tooLarge && error?.message.contains("4 B") == true)
        await large.discard()
        #expect(Bench.files(folder).isEmpty)

        let empty = try await uploads.begin(app: first)
        #expect(await #expect(throws: PaaSError.self) { try await empty.finish() }?.code == .malformed)
        await empty.discard()

        let older = try await uploads.begin(app: first)
        try await older.write([1])
        let newer = try await uploads.begin(app: first)
        #expect(await #expect(throws: PaaSError.self) { try await older.write([2]) }?.code == .conflict)
        await older.discard()
        try await newer.write([1])
        try await newer.finish()
        #expect(Bench.files(folder) == ["\(newer.build).tar"])
        await newer.discard()

        let patient = FileUploads(directory: folder, limitBytes: 4)
        var open: [any SourceUpload] = []
        for _ in 0..<FileUploads.maximumOpen { open.append(try await patient.begin(app: .random())) }
        #expect(await #expect(throws: PaaSError.self) { try await patient.begin(app: second) }?.code == .unavailable)
        for upload in open { await upload.discard() }
        #expect(Bench.files(folder).isEmpty)
    }

    @Test func uploadsLeaveTheDatabaseItsDiskAndEndAtSomeTime() async throws {
        let bench = Bench()
        let folder = bench.directory + "-uploads"
        let full = FileUploads(directory: folder, limitBytes: 4, reserveBytes: .max)
        let upload = try await full.begin(app: .random())
        let error = await #expect(throws: PaaSError.self) { try await upload.write([1]) }
        #expect(error?.code == .unavailable && error?.message.contains("nearly full") == true)
        await upload.discard()
        #expect(Bench.files(folder).isEmpty)

        // It trickles, but for too long: the next one has its place.
        let brief = FileUploads(directory: folder, limitBytes: 4, longest: .zero, reserveBytes: 0)
        let slow = try await brief.begin(app: .random())
        try await slow.write([1])
        let next = try await brief.begin(app: .random())
        #expect(await #expect(throws: PaaSError.self) { try await slow.write([2]) }?.code == .conflict)
        await slow.discard()
        await next.discard()
        #expect(Bench.files(folder).isEmpty)
    }

    @Test func anUploadIsRefusedWhileAnotherBuildRunsAndItsArchiveGoesIfOneCameFirst() async throws {
        let bench = Bench()
        bench.world.with { $0.script = nil }
        try await bench.running { builds, _, _ in
            let upload = try await builds.receive(bench.world.app, actor: bench.principal)
            try await upload.write([1])
            try await upload.finish()
            let other = try await builds.start(
                bench.world.app, source: Build.Source(kind: .commit, commit: Bench.commit), options: Build.Options(),
                actor: bench.principal)
            let refused = await #expect(throws: PaaSError.self) {
                try await builds.receive(bench.world.app, actor: bench.principal)
            }
            #expect(refused?.code == .conflict && refused?.message.contains("builds cancel 1") == true)
            let late = await #expect(throws: PaaSError.self) {
                try await builds.start(
                    bench.world.app, source: Build.Source(kind: .tar), options: Build.Options(), upload: upload,
                    actor: bench.principal)
            }
            #expect(late?.code == .conflict)
            #expect(Bench.files(bench.directory + "-uploads").isEmpty)
            try await builds.cancel(other.id)
        }
    }

    @Test func withoutANetworkNothingIsFetched() async throws {
        let bench = Bench()
        bench.world.with { $0.config = ["BUILD_NETWORK": "none"] }
        try await bench.running { builds, _, _ in
            let (build, _, _) = try await self.build(bench, builds, Build.Source(kind: .git, url: Self.url))
            #expect(build.error?.message.contains("BUILD_NETWORK") == true)
            #expect(bench.world.with { $0.ensured.isEmpty && $0.volumes.isEmpty })
            _ = try await self.build(bench, builds, Build.Source(kind: .commit, commit: Bench.commit))
        }
        #expect(environment(bench)["PAAS_NETWORK"] == "none")
        #expect(bench.world.with { $0.ensured.last?.network } == ContainerSpec.Network.none)
        #expect(bench.world.with { $0.evidence.last?.provenance.isOffline } == true)
    }

    @Test func aRebuildSaysWhetherItIsEqual() async throws {
        let bench = Bench()
        let digest = try #require(FakeWorld.digest)
        let other = try #require(SlugDigest(hex: String(repeating: "b", count: 64)))
        let source = Build.Source(kind: .commit, commit: Bench.commit)
        try await bench.running { builds, _, _ in
            bench.world.with { $0.comparison = Build.Comparison(build: 1, release: 3, slug: digest) }
            let equal = try await self.build(bench, builds, source).lines
            #expect(equal.contains("       Slug \(digest) equals the one of v3"))
            bench.world.with {
                $0.comparison = Build.Comparison(build: 1, release: nil, slug: other, differences: ["the buildpacks"])
            }
            let differs = try await self.build(bench, builds, source).lines
            #expect(differs.contains(" !     Slug \(digest) differs from \(other) of build 1"))
            #expect(differs.contains(" !     What was another then: the buildpacks"))
        }
    }
}
