import Domain
import OS
import Testing

@testable import Lifecycle

/// Each way in which a build with Cloud Native Buildpacks can end has its own words and exit code.
@Suite struct CNBFailureTests {
    @Test func aBrokenDescriptionIsNamed() throws {
        let bench = try CNBBench()
        let pack = try bench.buildpack("x")
        try bench.write("packs/x/buildpack.toml", "api = \n")
        let failure = try #require(bench.failure([pack]))
        #expect(failure.exit == .buildpackUnusable)
        #expect(failure.message.contains("buildpack.toml of \"packs/x\" line 1"), "\(failure.message)")
        try LayerTree.remove(pack + "/buildpack.toml")
        #expect(bench.failure([pack])?.message.contains("no buildpack.toml") == true)
    }

    @Test func verdictsOfAllGroupsAreShown() throws {
        let bench = try CNBBench()
        let no = try bench.buildpack("no", detect: "echo looked for nothing; exit 100")
        let bad = try bench.buildpack("bad", detect: "echo it broke >&2; exit 3")
        let far = try bench.buildpack(
            "far", more: "[[targets]]\n[[targets.distros]]\nname = \"ubuntu\"\nversion = \"24.04\"")
        let none = try #require(bench.failure([no]))
        #expect(none.exit == .buildpackDoesNotMatch && none.details == ["fail  test/no@1.0.0"])
        #expect(bench.lines.contains("       looked for nothing"))
        let broke = try #require(bench.failure([no, bad, far]))
        #expect(broke.exit == .compileFailed)
        #expect(
            broke.details == [
                "fail  test/no@1.0.0", "error test/bad@1.0.0: bin/detect ended with exit code 3",
                "fail  test/far@1.0.0: it is for ubuntu 24.04 on any/any, this is debian 13 on linux/amd64",
            ])
        #expect(bench.lines.contains("       it broke"))
        #expect(bench.failure([no, far])?.exit == .buildpackUnusable)
    }

    @Test func aPlanThatCantBeIsExplained() throws {
        let bench = try CNBBench()
        let alone = try bench.buildpack(
            "alone", detect: "printf '[[requires]]\\nname = \"sun\"\\n' >\"$CNB_BUILD_PLAN_PATH\"")
        #expect(
            bench.failure([alone])?.details == [
                "pass  test/alone@1.0.0",
                "fail  no build plan: test/alone requires sun, which nothing before it provides",
            ])
        let broken = try bench.buildpack("broken", detect: "echo '[[requires' >\"$CNB_BUILD_PLAN_PATH\"")
        let failure = try #require(bench.failure([broken]))
        #expect(failure.exit == .compileFailed && failure.details.last?.contains("its build plan line 1") == true)
    }

    @Test func aBuildThatFailsIsNamedWithItsCode() throws {
        let bench = try CNBBench()
        let pack = try bench.buildpack("x", build: "exit 42")
        let failure = try #require(bench.failure([pack]))
        #expect(failure.exit == .compileFailed)
        #expect(failure.message.contains("test/x@1.0.0 failed with exit code 42"))
        #expect(!Files.exists(bench.cache + "/cnb"))
        try bench.write("packs/x/bin/build", "#!/does/not/exist\n", mode: 0o755)
        #expect(bench.failure([pack])?.message.contains("can't be started") == true)
        try LayerTree.remove(pack + "/bin/build")
        #expect(bench.failure([pack])?.details == ["error test/x@1.0.0: it has no bin/build"])
    }

    @Test func signalsToItsGroupStayWithABuildpack() throws {
        let bench = try CNBBench()
        let pack = try bench.buildpack("x", build: "mkdir $CNB_LAYERS_DIR/l; umask >\"$HOME/mask\"; kill -9 0")
        #expect(bench.failure([pack])?.message.contains("failed with exit code 137") == true)
        #expect(bench.text("home/mask") == "0022\n")
    }

    @Test func aDetectThatDoesNotEndIsEnded() throws {
        let bench = try CNBBench()
        let pack = try bench.buildpack("slow", detect: "echo waits; sleep 600 & wait")
        bench.detectSeconds = 0.3
        let failure = try #require(bench.failure([pack]))
        #expect(failure.exit == .compileFailed)
        #expect(failure.details == ["error test/slow@1.0.0: bin/detect took more than 0 s and was ended"])
    }

    @Test func whatABuildLeavesIsChecked() throws {
        let cases = [
            ("echo '[types' >$L/a.toml", "a.toml line 1"),
            ("printf '[types]\\nlaunch = 1\\n' >$L/a.toml", "\"types.launch\" must be true or false"),
            ("mkdir $L/launch", "must not be named launch"), ("mkdir $L/store", "must not be named store"),
            ("echo '[[processes]]' >$L/launch.toml", "\"processes[0].type\" is missing"),
            ("printf '[[processes]]\\ntype = \"a b\"\\ncommand = [\"x\"]\\n' >$L/launch.toml", "processes[0].type"),
            ("printf '[[processes]]\\ntype = \"a\"\\ncommand = \"x\"\\n' >$L/launch.toml", "must be an array"),
            (
                "printf '[[processes]]\\ntype = \"a\"\\ncommand = [\"x\"]\\ndefault = true\\n[[processes]]\\ntype = \"b\"\\ncommand = [\"x\"]\\ndefault = true\\n' >$L/launch.toml",
                "only one can be it"
            ), ("printf '[[unmet]]\\nname = \"x\"\\n' >$L/build.toml", "was not asked for"),
            ("echo '{}' >$L/launch.sbom.spdx.json", "does not name in \"sbom-formats\""),
            ("echo '{}' >$L/launch.sbom.xml", "no known format"),
            ("printf '[[slices]]\\npaths = [\"../x\"]\\n' >$L/launch.toml", "leads out of"),
            ("printf '[types]\\nlaunch = true\\n' >$L/a.toml", "left no folder"),
        ]
        for (script, words) in cases {
            let bench = try CNBBench()
            let pack = try bench.buildpack("x", build: "L=$CNB_LAYERS_DIR; " + script)
            let failure = try #require(bench.failure([pack]))
            #expect(failure.exit == .compileFailed)
            #expect(failure.message.contains("test/x@1.0.0") && failure.message.contains(words), "\(failure.message)")
        }
    }

    @Test func buildpacksForOtherEnvironmentsAreLeftOut() throws {
        let bench = try CNBBench()
        let test = try bench.buildpack("test", about: "exec-env = [\"test\"]", build: "exit 1")
        let both = try bench.buildpack("both", about: "exec-env = [\"*\"]")
        #expect(try bench.build([test, both]).used.map(\.id) == ["test/both"])
        bench.environment = "a/b"
        #expect(bench.failure([both])?.exit == .sourceUnusable)
        bench.environment = "production"
        let only = try #require(bench.failure([test]))
        #expect(only.exit == .buildpackDoesNotMatch)
    }

    @Test func aDetectThatBreaksIsToldEvenIfOthersPass() throws {
        let bench = try CNBBench()
        try bench.buildpack("bad", detect: "exit 3")
        try bench.buildpack("good")
        try bench.write(
            "packs/all/buildpack.toml",
            """
            api = "0.12"
            [buildpack]
            id = "test/all"
            version = "1.0.0"
            [[order]]
            [[order.group]]
            id = "test/bad"
            version = "1.0.0"
            [[order]]
            [[order.group]]
            id = "test/good"
            version = "1.0.0"
            """)
        // Those of the list are at hand for its composites; the group is what the list's owner says.
        let packs = ["all", "bad", "good"].map { "\(bench.root)/packs/\($0)" }
        #expect(try bench.build(packs, group: [.init(id: "test/all")]).used.map(\.id) == ["test/good"])
        #expect(bench.lines.contains(" !     The detect of test/bad@1.0.0 broke: bin/detect ended with exit code 3"))
    }

    @Test func theFoldersOfTheSourceGiveWay() throws {
        let bench = try CNBBench()
        try bench.write("source/.layers/config/metadata.toml", "old")
        try bench.build([bench.buildpack("x")])
        #expect(bench.lines.contains { $0.contains("folder .layers") })
        #expect(bench.text("app/.layers/config/metadata.toml")?.contains("test/x") == true)
        #expect(bench.text("result/release.yml") == "--- {}\n")
    }

    @Test func aComponentsFolderIsToldFromAClassicOne() throws {
        let bench = try CNBBench()
        let pack = try bench.buildpack("x")
        #expect(CNBLifecycle.isBuildpack(pack))
        #expect(try CNBLifecycle.isBuildpack(bench.sample()))
        try bench.write("packs/x/buildpack.toml", "oh [")
        #expect(CNBLifecycle.isBuildpack(pack))
        try bench.write("packs/classic/buildpack.toml", "[publish.Ignore]\nfiles = []\n")
        #expect(!CNBLifecycle.isBuildpack(bench.root + "/packs/classic"))
        try bench.write("packs/x/bin/compile", "")
        #expect(!CNBLifecycle.isBuildpack(pack))
        #expect(!CNBLifecycle.isBuildpack(bench.root + "/packs"))
    }
}
