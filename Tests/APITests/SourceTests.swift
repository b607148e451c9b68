import API
import Domain
import Hummingbird
import HummingbirdTesting
import Synchronization
import Testing

/// Builds of what is not pushed, buildpacks, and what is known about slugs.
@Suite struct SourceTests {
    private static let builds = "/api/v1/apps/demo/builds"

    @Test func aRepositoryElsewhereIsBuiltWithoutAPassword() async throws {
        let world = try World()
        try await world.server.publicApplication().test(.router) { client in
            let body = #"{"source":{"git":{"url":"https://git.example/dns.git","ref":"v1"}},"noWait":true}"#
            #expect(try await client.call(.post, Self.builds, body).status == 202)
            let started = try #require(world.builds.started.withLock { $0.first })
            #expect(started.source == Build.Source(kind: .git, ref: "v1", url: "https://git.example/dns.git"))
            #expect(started.options == Build.Options(noWait: true) && started.upload == nil)
            for url in [
                "https://me:sesame@git.example/x.git", "https://sesame@git.example/x.git", "me:sesame@git.example:x",
                "ssh://me:sesame@git.example/x", "file:///etc", "ext::sh -c id", "-oProxyCommand=x", "https://", "x y",
                "ssh://-oProxyCommand=id/x", "git.example", "https://git.example/x.git#main", "",
            ] {
                let text = String(decoding: JSONValue.string(url).encoded(), as: UTF8.self)
                let answer = try await client.call(.post, Self.builds, #"{"source":{"git":{"url":\#(text)}}}"#)
                expectProblem(answer, 422)
                #expect(!answer.text.contains("sesame") && answer.text.contains("source.git.url"))
            }
            for (source, status) in [
                (#"{"git":{"url":"https://h.example/x","ref":"--upload-pack=x"}}"#, 422), (#"{"git":{}}"#, 400),
                (#"{"git":{"url":"https://h.example/x","branch":"x"}}"#, 400), (#"{}"#, 422), (#"{"git":"x"}"#, 400),
                (#"{"git":{"url":"https://h.example/x"},"commit":"0123456"}"#, 422),
            ] {
                expectProblem(try await client.call(.post, Self.builds, #"{"source":\#(source)}"#), status)
            }
            #expect(world.builds.started.withLock { $0.count } == 1)
        }
    }

    @Test(arguments: ["application/gzip", "application/x-tar", "application/octet-stream", "Application/zstd; q=1"])
    func anArchiveIsTakenAsItIs(type: String) async throws {
        let world = try World()
        try await world.server.publicApplication().test(.router) { client in
            let answer = try await client.call(
                .post, Self.builds + "?clearCache=1&buildOnly=true", "archive", headers: ["Content-Type": type])
            #expect(answer.status == 202 && answer.json["kind"] == .string("build"))
            let upload = try #require(world.builds.uploads.withLock { $0.first })
            #expect(upload.bytes.withLock { $0 } == Array("archive".utf8))
            #expect(upload.end.withLock { $0 } == "finished")
            let started = try #require(world.builds.started.withLock { $0.first })
            #expect(started.source == Build.Source(kind: .tar) && started.upload == upload.build)
            #expect(started.options == Build.Options(buildOnly: true, clearCache: true))
        }
    }

    @Test func anArchiveThatIsRefusedLeavesNothing() async throws {
        let world = try World(environment: ["PAAS_CHECKOUT_LIMIT_BYTES": "\(3 << 20)"])
        try await world.server.publicApplication().test(.router) { client in
            let tar = ["Content-Type": "application/x-tar"]
            expectProblem(try await client.call(.post, Self.builds, "", headers: tar), 400)
            let large = try await client.call(
                .post, Self.builds, String(repeating: "x", count: (1 << 20) + 1), headers: tar)
            expectProblem(large, 413)
            #expect(large.text.contains("1 MiB"))
            let length = try await client.call(
                .post, Self.builds, String(repeating: "x", count: (3 << 20) + 1), headers: tar)
            expectProblem(length, 413)
            #expect(length.text.contains("\(3 << 20)"))
            expectProblem(
                try await client.call(
                    .post, Self.builds, "x",
                    headers: ["Content-Type": "application/x-tar", "Content-Encoding": "gzip"]), 415)
            expectProblem(try await client.call(.post, Self.builds, "x", as: "viewer", headers: tar), 403)
            expectProblem(try await client.call(.post, Self.builds, "x", headers: ["Content-Type": "text/plain"]), 400)
            #expect(world.builds.uploads.withLock { $0 }.allSatisfy { $0.end.withLock { $0 } == "discarded" })
            world.builds.isBusy.withLock { $0 = true }
            expectProblem(try await client.call(.post, Self.builds, "x", headers: tar), 409)
            #expect(world.builds.started.withLock { $0.isEmpty })
        }
    }

    @Test func aQueuedBuildShowsItsPlaceAndARebuildWhetherItIsEqual() async throws {
        let world = try World()
        try world.addBuild()
        let digest = try #require(SlugDigest(hex: String(repeating: "a", count: 64)))
        world.store.state.withLock {
            $0.builds[0].state = .queued
            $0.builds[0].slug = digest
            $0.builds[0].comparison = Build.Comparison(build: 4, release: 3, slug: digest, differences: [])
        }
        world.builds.queue.withLock { $0 = 2 }
        try await world.server.publicApplication().test(.router) { client in
            let build = try await client.call(.get, Self.builds + "/1").json
            #expect(build["waitsFor"] == .integer(2))
            #expect(build["comparison"]?["equal"] == .bool(true) && build["comparison"]?["release"] == .integer(3))
            let list = try await client.call(.get, Self.builds).json.arrayValue
            #expect(list?.first?["waitsFor"] == .integer(2))
        }
    }

    @Test func buildpacksAreNamedOrAddressed() async throws {
        let world = try World(environment: ["PAAS_BUILDPACK_DIRS": "/srv/packs"])
        try await world.server.publicApplication().test(.router) { client in
            let known = try await client.call(.get, "/api/v1/buildpacks").json.arrayValue
            #expect(known?.map { $0["name"]?.stringValue } == ["native", "python"])
            func patch(_ list: String) async throws -> Answer {
                try await client.call(.patch, "/api/v1/apps/demo", #"{"buildpacks":\#(list)}"#)
            }
            let list =
                #"["slipway/native","https://h.example/p.git#v1","heroku/x","git@h.example:p","file:///srv/packs/a"]"#
            expectProblem(try await patch(list), 409)
            #expect(world.store.state.withLock { $0.patches.last?.buildpacks?.count } == 5)
            expectProblem(try await patch("[]"), 409)
            #expect(world.store.state.withLock { $0.patches.last?.buildpacks } == [])
            let count = world.store.state.withLock { $0.patches.count }
            for (entry, words) in [
                ("perl", "known ones: native, python"), ("two words", "neither a name"), ("UPPER", "neither a name"),
                ("https://a:sesame@h.example/p", "password"), ("file:///etc", "offered are: /srv/packs"),
                ("file:///srv/packs/../x", "without '..'"), ("ftp://h.example/p", "must begin"), ("", "neither"),
            ] {
                let answer = try await patch(#"["\#(entry)"]"#)
                expectProblem(answer, 422)
                #expect(answer.text.contains(words) && !answer.text.contains("sesame"), "\(answer.text)")
            }
            expectProblem(
                try await patch("[" + Array(repeating: #""python""#, count: 21).joined(separator: ",") + "]"), 422)
            #expect(world.store.state.withLock { $0.patches.count } == count)
        }
    }

    @Test func aPromotionNamesTheOtherApp() async throws {
        let world = try World()
        try await world.server.publicApplication().test(.router) { client in
            let path = "/api/v1/apps/demo/releases"
            #expect(try await client.call(.post, path, #"{"promoteFrom":"staging"}"#).status == 202)
            #expect(world.store.state.withLock { $0.promotions } == ["staging"])
            expectProblem(try await client.call(.post, path, #"{"promoteFrom":"staging","rollback":3}"#), 422)
            expectProblem(try await client.call(.post, path, #"{"promoteFrom":null}"#), 400)
        }
    }

    @Test func aSlugTellsHowItCameToBe() async throws {
        let world = try World()
        let digest = try #require(SlugDigest(hex: String(repeating: "a", count: 64)))
        let commit = String(repeating: "1", count: 40)
        let pack = String(repeating: "2", count: 40)
        let fetched = String(repeating: "3", count: 64)
        let provenance = Provenance(
            builder: "1.0", build: .random(), number: 7,
            source: .init(kind: .git, url: "https://h.example/x.git", ref: "main", commit: commit, tree: pack),
            stack: "debian-13", stackDigest: "sha256:\(fetched)", buildpacks: [.init(name: "python", commit: pack)],
            artifacts: [.init(url: "https://pypi.example/x.whl", sha256: fetched)],
            limits: .init(seconds: 1500, memoryBytes: 2, diskBytes: 3, slugBytes: 4, sourceBytes: 5), isOffline: true,
            mayUseCache: false, startedAt: FakeStore.time, finishedAt: FakeStore.time.adding(seconds: 5))
        world.store.state.withLock {
            $0.slug = SlugInfo(
                digest: digest, sizeBytes: 10, imageBytes: 5, createdAt: FakeStore.time,
                uses: [.init(app: "demo", builds: [7], releases: [3, 2])], provenance: provenance, hasBill: true)
            $0.bill = Array(#"{"bomFormat":"CycloneDX"}"#.utf8)
        }
        try await world.server.publicApplication().test(.router) { client in
            let slug = try await client.call(.get, "/api/v1/slugs/\(digest)").json
            #expect(slug["uses"]?.arrayValue?.first?["releases"] == .array([.integer(3), .integer(2)]))
            let statement = try #require(slug["provenance"])
            #expect(statement["predicateType"] == .string("https://slsa.dev/provenance/v1"))
            #expect(statement["subject"]?.arrayValue?.first?["digest"]?["sha256"] == .string(digest.hex))
            let definition = try #require(statement["predicate"]?["buildDefinition"])
            #expect(definition["externalParameters"]?["source"]?["ref"] == .string("main"))
            #expect(definition["internalParameters"]?["network"] == .string("none"))
            #expect(definition["internalParameters"]?["limits"]?["seconds"] == .integer(1500))
            let dependencies = try #require(definition["resolvedDependencies"]?.arrayValue)
            #expect(dependencies.map { $0["name"]?.stringValue } == ["source", "stack", "buildpack", nil])
            #expect(dependencies[0]["digest"]?["gitCommit"] == .string(commit))
            #expect(dependencies[1]["digest"]?["sha256"] == .string(fetched))
            let bill = try await client.call(.get, try #require(slug["sbom"]?.stringValue))
            #expect(bill.text == #"{"bomFormat":"CycloneDX"}"#)
            #expect(bill.header("Content-Type")?.hasPrefix("application/vnd.cyclonedx+json") == true)
            let list = try await client.call(.get, "/api/v1/apps/demo/slugs?limit=5").json.arrayValue
            #expect(list?.first?["digest"] == .string("\(digest)") && list?.first?["provenance"] == nil)
            try world.addBuild()
            expectProblem(try await client.call(.get, Self.builds + "/1/provenance"), 404)
            world.store.state.withLock { $0.builds[0].slug = digest }
            #expect(try await client.call(.get, Self.builds + "/1/provenance").json["_type"] != nil)
            world.store.state.withLock { $0.bill = nil }
            expectProblem(try await client.call(.get, "/api/v1/slugs/\(digest)/sbom"), 404)
            expectProblem(try await client.call(.get, "/api/v1/slugs/sha256:\(fetched)"), 404)
            expectProblem(try await client.call(.get, "/api/v1/slugs/latest"), 404)
        }
    }
}
