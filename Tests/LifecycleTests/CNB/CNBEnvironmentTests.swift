import Domain
import OS
import Testing

@testable import Lifecycle

/// What buildpacks and processes see of environment variables.
@Suite struct CNBEnvironmentTests {
    /// Applies layers given as `LAYER/FOLDER/FILE` to content, in the order of the buildpacks.
    private func apply(
        _ buildpacks: [[String: String]], _ phase: LayerEnvironment.Phase, start: [String: String] = [:]
    ) throws -> EnvironmentVariables {
        let bench = try CNBBench()
        var environment = LayerEnvironment(variables: EnvironmentVariables(start), phase: phase)
        for (index, files) in buildpacks.enumerated() {
            for (path, text) in files { try bench.write("bp\(index)/\(path)", text) }
            let root = "\(bench.root)/bp\(index)"
            let layers = try Files.list(root).map { "\(root)/\($0)" }
            try environment.add(layers: layers)
        }
        // Paths of this test are of no interest.
        for name in LayerEnvironment.pathLists {
            environment.variables.set(
                name, environment.variables.text(name)?.replacing(bench.root + "/", with: "") ?? "")
        }
        return environment.variables
    }

    @Test func pathListsHaveLaterBuildpacksFirstAndLayersByName() throws {
        let files = ["b/bin/x": "", "a/bin/x": "", "a/lib/x": "", "a/include/x": "", "a/pkgconfig/x": ""]
        let build = try apply([files, ["c/bin/x": "", "c/lib/y": ""]], .build, start: ["PATH": "/bin"])
        #expect(build.text("PATH") == "bp1/c/bin:bp0/a/bin:bp0/b/bin:/bin")
        #expect(build.text("LD_LIBRARY_PATH") == "bp1/c/lib:bp0/a/lib")
        #expect(build.text("LIBRARY_PATH") == "bp1/c/lib:bp0/a/lib")
        #expect(build.text("CPATH") == "bp0/a/include")
        #expect(build.text("PKG_CONFIG_PATH") == "bp0/a/pkgconfig")
        let launch = try apply([files], .launch(nil), start: ["PATH": "/bin"])
        #expect(launch.text("PATH") == "bp0/a/bin:bp0/b/bin:/bin")
        #expect(launch.text("LIBRARY_PATH") == "" && launch.text("CPATH") == "")
    }

    @Test func filesChangeVariablesAsTheirEndingsSay() throws {
        let layers = [
            [
                "a/env/PLAIN": "one", "a/env/OVER.override": "one", "a/env/APP.append": "1", "a/env/APP.delim": ",",
                "a/env/PRE.prepend": "1", "a/env/PRE.delim": "-", "a/env/DEF.default": "first",
                "a/env/RAW": "$HOME \n'",
                "a/env/ODD.unknown": "x", "a/env/.append": "x", "a/env/sub/NOT": "x",
            ],
            [
                "b/env/PLAIN": "two", "b/env/OVER.override": "two", "b/env/APP.append": "2", "b/env/APP.delim": ",",
                "b/env/PRE.prepend": "2", "b/env/PRE.delim": "-", "b/env/DEF.default": "second",
                "b/env/SET.default": "no",
                "b/env/BARE.append": "z",
            ],
        ]
        let result = try apply(layers, .build, start: ["SET": "yes", "BARE": "y", "APP": "0"])
        #expect(result.text("PLAIN") == "two")
        #expect(result.text("OVER") == "two")
        #expect(result.text("APP") == "0,1,2")
        #expect(result.text("PRE") == "2-1")
        #expect(result.text("DEF") == "first")
        #expect(result.text("SET") == "yes")
        #expect(result.text("BARE") == "yz")
        #expect(result.text("RAW") == "$HOME \n'")
        #expect(result.text("ODD") == nil && result.text("NOT") == nil && result.text("") == nil)
    }

    @Test func foldersAreAppliedFromTheGeneralToTheSpecial() throws {
        let files = [
            "a/env/X": "env", "a/env.build/X": "build", "a/env.launch/X": "launch", "a/env.launch/web/X": "web",
            "a/env/P.prepend": "1", "a/env.launch/P.prepend": "2", "a/env.launch/web/P.prepend": "3",
            "a/env/P.delim": ":",
            "a/env/A.append": "1", "a/env.launch/A.append": "2", "a/env.launch/web/A.append": "3",
            "a/env.launch/web/A.delim": "/", "a/env/D.default": "env", "a/env.launch/D.default": "launch",
        ]
        #expect(try apply([files], .build).text("X") == "build")
        #expect(try apply([files], .launch(nil)).text("X") == "launch")
        let web = try apply([files], .launch("web"))
        #expect(web.text("X") == "web")
        // A delimiter goes for the whole layer.
        #expect(web.text("P") == "3:2:1")
        #expect(web.text("A") == "1/2/3")
        #expect(web.text("D") == "env")
    }

    @Test func valuesAreBytes() throws {
        let entry = Array("RAW=".utf8) + [0xFF, 0x3D, 0x0A]
        var variables = EnvironmentVariables(block: [entry, Array("RAW=second".utf8), Array("=odd".utf8)])
        #expect(variables["RAW"] == [0xFF, 0x3D, 0x0A])
        variables["CUT"] = [65, 0, 66]
        #expect(variables.block == [Array("CUT=A".utf8), entry, Array("=odd".utf8)])
    }

    @Test func usersVariablesReachBuildpacksUnlessTheyWantNone() throws {
        let bench = try CNBBench()
        try bench.write("env/USER_SAYS", "a b\nc")
        try bench.write("env/PATH", "/user/bin")
        try bench.write("env/BUILD_NETWORK", "none")
        try bench.write("env/CNB_STACK_ID", "mine")
        bench.projectEnvironment = ["BP_VERSION": "7", "USER_SAYS": "project"]
        let show =
            "env >\"$HOME/$(basename \"$CNB_BUILDPACK_DIR\").env\"; ls \"$CNB_PLATFORM_DIR/env\" >\"$HOME/files\""
        let open = try bench.buildpack("open", api: "0.11", detect: show)
        let closed = try bench.buildpack("closed", about: "clear-env = true", detect: show)
        try bench.build([open, closed])
        let seen = try #require(bench.text("home/open.env"))
        #expect(seen.contains("USER_SAYS=a b\nc\n"))
        #expect(seen.contains("PATH=/user/bin:/usr/local/bin:/usr/bin:/bin\n"))
        #expect(seen.contains("BP_VERSION=7\n"))
        #expect(seen.contains("CNB_STACK_ID=debian-13\n"))
        #expect(seen.contains("CNB_TARGET_DISTRO_NAME=debian\n"))
        #expect(seen.contains("CNB_TARGET_ARCH_VARIANT=\n"))
        #expect(!seen.contains("CNB_EXEC_ENV"))
        #expect(!seen.contains("BUILD_NETWORK"))
        let other = try #require(bench.text("home/closed.env"))
        #expect(
            !other.contains("USER_SAYS") && !other.contains("BP_VERSION") && other.contains("CNB_EXEC_ENV=production"))
        #expect(bench.text("home/files") == "BP_VERSION\nBUILD_NETWORK\nCNB_STACK_ID\nPATH\nUSER_SAYS\n")
        // No value of a config var is copied to the build's disk.
        #expect(FileFacts(bench.root + "/work/platform/env/USER_SAYS")?.isLink == true)
    }
}
