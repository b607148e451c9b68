import Domain
import Testing

@testable import Builder

@Suite struct SourceSwitchesTests {
    static let commit = String(repeating: "5", count: 40)

    static func facts(gitlinks: [String] = [], hasGitmodules: Bool = false, pointers: [String] = [], files: Int = 3)
        -> TreeFacts
    {
        TreeFacts(
            files: files, totalBytes: 10, largestFile: "a", largestBytes: 5, lfsPointers: pointers,
            gitlinks: gitlinks.map { Gitlink(path: $0, commit: commit) }, hasGitmodules: hasGitmodules)
    }

    static func check(_ facts: TreeFacts, _ config: [String: String] = [:]) throws -> [String] {
        try SourceChecks.check(facts, switches(config), limitBytes: 1 << 20)
    }

    static func switches(_ config: [String: String]) throws -> SourceSwitches {
        try SourceSwitches(config.mapValues { try ConfigValue($0) })
    }

    @Test func submodulesAreLeftToTheDriver() throws {
        let facts = Self.facts(gitlinks: ["vendor/a \"b\"", "x"], hasGitmodules: true)
        #expect(try Self.check(facts).isEmpty)
        let expected =
            #"[{"path":"vendor/a \"b\"","commit":"\#(Self.commit)"},{"path":"x","commit":"\#(Self.commit)"}]"#
        for setting in [[:], ["GIT_SUBMODULES": "auto"], ["GIT_SUBMODULES": "required"], ["GIT_SUBMODULES": ""]] {
            #expect(try Self.switches(setting).submodules(of: facts) == expected)
        }
        #expect(try Self.switches(["GIT_SUBMODULES": "off"]).submodules(of: facts) == nil)
        #expect(try Self.check(facts, ["GIT_SUBMODULES": "off"]).first?.contains("GIT_SUBMODULES=off") == true)
        #expect(try Self.switches([:]).submodules(of: Self.facts()) == nil)
    }

    @Test func aCloneThatWasCommittedByMistakeHasWordsOfItsOwn() throws {
        let facts = Self.facts(gitlinks: ["lib/clone"])
        let lines = try Self.check(facts)
        #expect(lines.contains { $0.contains("without .gitmodules") && $0.contains("lib/clone") }, "\(lines)")
        #expect(lines.contains { $0.contains("git rm --cached") }, "\(lines)")
        #expect(try Self.switches([:]).submodules(of: facts) == nil)
        let error = #expect(throws: PaaSError.self) { try Self.check(facts, ["GIT_SUBMODULES": "required"]) }
        #expect(error?.code == .appFailed && error?.message.contains("lib/clone") == true)
        #expect(throws: PaaSError.self) { try Self.check(Self.facts(gitlinks: ["only"], files: 0)) }
    }

    @Test func pointersAreRefusedUnlessTheyAreWanted() throws {
        let facts = Self.facts(pointers: ["model.bin"])
        let error = #expect(throws: PaaSError.self) { try Self.check(facts) }
        #expect(
            error?.message.contains("model.bin") == true && error?.message.contains("git lfs migrate export") == true)
        #expect(try Self.check(facts, ["GIT_LFS_POINTERS": "allow"]).isEmpty)
    }

    @Test func aLargeFileIsWorthAWord() throws {
        var facts = Self.facts()
        facts.largestBytes = SourceChecks.largeFileBytes + 1
        let lines = try SourceChecks.check(facts, Self.switches([:]), limitBytes: 1 << 40)
        #expect(lines.contains { $0.contains("Large file: \"a\"") }, "\(lines)")
    }

    @Test(arguments: [
        ("GIT_SUBMODULES", "yes"), ("GIT_SUBMODULES", "Required"), ("KEEP_GIT_DIR", "true"), ("GIT_LFS_POINTERS", "1"),
    ]) func aTypingErrorIsNamed(name: String, value: String) throws {
        let error = #expect(throws: PaaSError.self) { try Self.switches([name: value]) }
        #expect(error?.code == .appFailed && error?.message.contains(name) == true)
    }

    @Test func theDriverIsToldWhatItNeeds() async throws {
        for (config, submodules, kept) in [
            ([:], true, nil as KeptHistory?), (["GIT_SUBMODULES": "off"], false, nil),
            (["KEEP_GIT_DIR": "1"], true, KeptHistory(branch: "main")),
        ] {
            let bench = Bench()
            bench.world.with {
                $0.config = config
                $0.facts = Self.facts(gitlinks: ["x"], hasGitmodules: true)
            }
            let (decisions, lines) = try await bench.running { _, service, _ in await bench.push(service) }
            #expect(decisions == ["refs/heads/main": .moved], "\(lines)")
            let spec = try #require(bench.world.with { $0.ensured.first })
            func value(_ name: String) -> String? {
                spec.environment.first { $0.name == name }.map { String(decoding: $0.value, as: UTF8.self) }
            }
            #expect(value("PAAS_SUBMODULES") == (submodules ? "[{\"path\":\"x\",\"commit\":\"\(Self.commit)\"}]" : nil))
            #expect(value("PAAS_CHECKOUT_LIMIT_BYTES") == "1073741824")
            #expect(bench.world.with { $0.checkouts } == [kept])
        }
    }

    @Test func aTypingErrorFailsTheBuildBeforeItsContainer() async throws {
        let bench = Bench()
        bench.world.with { $0.config = ["GIT_SUBMODULES": "maybe"] }
        let (decisions, lines) = try await bench.running { _, service, _ in await bench.push(service) }
        #expect(decisions == ["refs/heads/main": .refuse("build 1 failed")])
        #expect(lines.contains { $0.contains("GIT_SUBMODULES must be one of auto, required, off") }, "\(lines)")
        #expect(bench.world.with { $0.ensured.isEmpty && $0.checkouts.isEmpty })
    }

    @Test func theHistoryIsKeptOnTheBranchThatWasPushed() throws {
        let push = Build.Source(kind: .push, commit: Self.commit, ref: "refs/heads/main")
        #expect(try Self.switches([:]).keptHistory(of: push) == nil)
        #expect(try Self.switches(["KEEP_GIT_DIR": "0"]).keptHistory(of: push) == nil)
        #expect(try Self.switches(["KEEP_GIT_DIR": "1"]).keptHistory(of: push) == KeptHistory(branch: "main"))
        let commit = Build.Source(kind: .commit, commit: Self.commit)
        #expect(try Self.switches(["KEEP_GIT_DIR": "1"]).keptHistory(of: commit) == KeptHistory(branch: nil))
    }
}
