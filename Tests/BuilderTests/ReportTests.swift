import Builder
import Domain
import Testing

/// What a build's driver leaves for the platform.
@Suite struct ReportTests {
    private func push(_ bench: Bench) async throws -> (build: Build, lines: [String]) {
        let lines = try await bench.running { _, service, _ in await bench.push(service).lines }
        return (try #require(bench.world.build), lines)
    }

    @Test func whatTookPartIsRecordedAndPinned() async throws {
        let bench = Bench()
        let commit = String(repeating: "d", count: 40)
        bench.world.with {
            $0.stacks = [
                StackInfo(
                    name: "debian-13", state: .ready, runImageBytes: 1, buildImageBytes: 1, digest: "sha256:stack")
            ]
            $0.files["result/build.json"] = FakeWorld.report(
                #"[{"name":"apt"},{"name":"python","commit":"\#(commit)","url":"https://me:secret@host.example/p.git"}]"#,
                detected: true)
        }
        let (build, lines) = try await push(bench)
        #expect(
            build.buildpacks == [
                .init(name: "apt"), .init(name: "python", url: "https://host.example/p.git", commit: commit),
            ])
        #expect(bench.world.app.buildpacks == ["python"])
        #expect(lines.contains("       dns is built by python from now on (pinned); to change it:"))
        let provenance = try #require(bench.world.with { $0.evidence.first?.provenance })
        #expect(provenance.builder == "1.2.3" && provenance.stackDigest == "sha256:stack")
        #expect(provenance.source.commit == Bench.commit && provenance.source.tree == Bench.commit)
        #expect(provenance.limits.seconds == 1500 && provenance.limits.sourceBytes == 1 << 30)
        // The next build names it, and is told nothing again.
        let next = ("refs/heads/main", Bench.commit, String(repeating: "2", count: 40))
        let again = try await bench.running { _, service, _ in await bench.push(service, [next]).lines }
        #expect(!again.contains { $0.contains("pinned") })
        let environment = bench.world.with { $0.ensured.last?.environment } ?? []
        #expect(environment.contains(EnvironmentVariable("PAAS_BUILDPACKS", "python")))
    }

    @Test func whatTheAppNamesIsNotPinnedNorWhatFailed() async throws {
        let bench = Bench()
        #expect(try await push(bench).build.state == .succeeded)
        #expect(bench.world.app.buildpacks.isEmpty)
        let failing = Bench()
        failing.world.with {
            $0.files["result/build.json"] = FakeWorld.report(detected: true)
            $0.script = ([], 5)
        }
        let (build, _) = try await push(failing)
        #expect(build.state == .failed && build.buildpacks.map(\.name) == ["python"])
        #expect(failing.world.app.buildpacks.isEmpty)
    }

    @Test(arguments: [
        ("", "ended without its report"), ("{}", "can't be read"), ("[", "can't be read"),
        (String(repeating: " ", count: 1 << 20) + "{}", "larger than 1 MiB"),
    ]) func withoutAReadableReportThereIsNoSlug(report: String, words: String) async throws {
        let bench = Bench()
        bench.world.with { $0.files["result/build.json"] = report.isEmpty ? nil : report }
        let (build, _) = try await push(bench)
        #expect(build.state == .failed && build.error?.message.contains(words) == true)
        #expect(bench.world.with { $0.slugFiles.isEmpty })
    }

    @Test func foreignTextIsMadeHarmless() async throws {
        let bench = Bench()
        let long = String(repeating: "x", count: 5000)
        bench.world.with {
            $0.files["result/build.json"] = FakeWorld.report(
                #"[{"name":"a\u001b[2Jb","commit":"not hex"},{"name":""},{"name":"\#(long)"}]"#, detected: true,
                displayName: "Evil\u{1B}[31m".replacing("\u{1B}", with: #"\u001b"#))
            $0.script = ([], 5)
        }
        let (build, lines) = try await push(bench)
        #expect(build.buildpacks.map(\.name.count) == [6, 100] && build.buildpacks[0].commit == nil)
        #expect(!lines.contains { $0.contains("\u{1B}") })
        #expect(lines.contains(" !     Failed to compile Evil\u{FFFD}[31m"))
    }

    @Test(arguments: [
        (nil as String?, "is missing"), ("[]", "is no CycloneDX"), (#"{"bomFormat":"SPDX"}"#, "is no CycloneDX"),
    ]) func aListOfComponentsThatCantBeUsedIsNotKept(text: String?, words: String) async throws {
        let bench = Bench()
        bench.world.with { $0.files["result/sbom.cdx.json"] = text }
        let (build, lines) = try await push(bench)
        #expect(build.state == .succeeded && lines.contains { $0.contains("(SBOM) \(words)") })
        #expect(bench.world.with { $0.evidence.first?.billOfMaterials } == nil)
    }

    @Test func everyExitHasWordsOfItsOwn() async throws {
        var messages: Set<String> = []
        for exit in BuildExit.allCases where exit != .built {
            let bench = Bench()
            bench.world.with { $0.script = ([], exit.rawValue) }
            let message = try #require(try await push(bench).build.error?.message)
            #expect(!message.contains("exit code"))
            messages.insert(message)
        }
        #expect(messages.count == BuildExit.allCases.count - 1)
        let bench = Bench()
        bench.world.with { $0.script = ([], 139) }
        #expect(try await push(bench).build.error?.message == "the build was ended by signal 11")
    }
}
