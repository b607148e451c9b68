import Domain
import OS
import Testing

@testable import Lifecycle

/// The sample composite, built for real and started for real.
@Suite struct CNBSampleTests {
    private func bench() throws -> CNBBench {
        let bench = try CNBBench()
        try bench.write("env/SAMPLE_USER", "user's value")
        try bench.write("source/assets.lock", "one")
        try bench.write("source/runtime.version", "2")
        return bench
    }

    @Test func buildsWithPlanLayersAndProcesses() throws {
        let bench = try bench()
        let result = try bench.build([bench.sample()])
        #expect(result.used.map(\.id) == ["sample/runtime", "sample/tools", "sample/assets", "sample/server"])
        #expect(result.used.allSatisfy { $0.origin == 0 })
        #expect(result.displayName == "Sample server")
        #expect(bench.text("app/built.txt") == "run 2 with at build\ntool\n")
        #expect(
            bench.text("result/release.yml")
                == "---\ndefault_process_types:\n  web: \"/paas/lifecycle launch web\"\n  worker: \"/paas/lifecycle launch worker\"\n"
        )
        // Of the layers only those for launch are in the slug.
        let slug = bench.app + "/.layers"
        #expect(
            try Files.list(slug) == ["config", "sample_assets", "sample_runtime", "sample_server", "sbom"])
        #expect(try Files.list(slug + "/sample_runtime") == ["runtime"])
        #expect(try Files.list(slug + "/sbom/launch") == ["sample_runtime", "sample_server"])
        #expect(Files.exists(slug + "/sbom/launch/sample_runtime/runtime/sbom.cdx.json"))
        let metadata = try LaunchMetadata(#require(try TOMLDocument.read(slug + "/config/metadata.toml", "m")))
        #expect(metadata.defaultType == "web")
        #expect(metadata.labels.map(\.key) == ["sample"])
        #expect(metadata.slices == [["static/**", "*.css"]])
        #expect(metadata.processes.map(\.type) == ["Odd_Name", "tester", "web", "worker"])
        // What is left out is said, and why.
        #expect(bench.lines.contains { $0.contains("sample/extra provides extra, which nothing after it requires") })
        #expect(bench.lines.contains { $0.contains("\"Odd_Name\" is not allowed") })
    }

    @Test func buildsAgainWithWhatItKept() throws {
        let bench = try bench()
        try bench.build([bench.sample()])
        #expect(bench.text("app/.layers/sample_assets/assets/made.txt") == "made in build 1\n")
        try bench.build([bench.sample()])
        // Restored with its content; used again without; the store counts on.
        #expect(bench.lines.contains("       sample/runtime: \"runtime\""))
        #expect(bench.lines.contains("       sample/assets: \"assets\" (only its metadata)"))
        #expect(bench.lines.contains("       sample/assets: \"assets\" is used again"))
        #expect(bench.text("app/.layers/sample_assets/assets/made.txt") == "made in build 1\n")
        #expect(bench.text("cache/cnb/store/sample_assets.toml")?.contains("builds = 2") == true)
        try bench.write("source/assets.lock", "two")
        try bench.build([bench.sample()])
        #expect(bench.text("app/.layers/sample_assets/assets/made.txt") == "made in build 3\n")
        try bench.build([bench.sample()])
        #expect(bench.text("app/.layers/sample_assets/assets/made.txt") == "made in build 3\n")
    }

    @Test func theSlugsProcessesStart() throws {
        let bench = try bench()
        try bench.build([bench.sample()])
        let web = try bench.launch(["web"])
        #expect(web.text == "run 2 with always by default\n", "\(web.errorText)")
        #expect(try bench.launch(["web", "by", "me"]).text == "run 2 with always by me\n")
        let worker = try bench.launch(["worker"])
        #expect(worker.text == "worker in \(bench.app)/work: first:second launch\n", "\(worker.errorText)")
        // Commands get the layers' environment too, those for a shell also profiles.
        try bench.write("app/.profile", "SAMPLE_APP=\"app after $SAMPLE_PROFILE\"; export SAMPLE_APP")
        try bench.write("app/.profile.d/10-own.sh", "export SAMPLE_OWN=\"own, $SAMPLE_PROFILE\"")
        let shell = try bench.launch([
            "--shell", "echo \"$SAMPLE_APP; $SAMPLE_OWN\" && sample-run $SAMPLE_DEFAULT; exit 7",
        ])
        #expect(
            shell.text
                == "app after profile of from app, mode launch; own, profile of from app, mode launch\nrun 2 with unset\n",
            "\(shell.errorText)")
        #expect(shell.status == 7)
        #expect(try bench.launch(["sample-run", "a  $SAMPLE_MODE", "b"]).text == "run 2 with a  launch b\n")
        #expect(try bench.launch(["--", "sample-run", "$SAMPLE_MODE"]).text == "run 2 with $SAMPLE_MODE\n")
    }

    @Test func aTypesOwnFilesCountForItAlone() throws {
        let bench = try bench()
        try bench.build([bench.sample()])
        try bench.write("app/.layers/sample_runtime/runtime/bin/show", "#!/bin/sh\nenv\n", mode: 0o755)
        let metadata = bench.app + "/.layers/config/metadata.toml"
        let text = try #require(bench.text("app/.layers/config/metadata.toml"))
        try Files.writeDurably(metadata, Array(text.replacing("\"sample-run\", \"always\"", with: "\"show\"").utf8))
        let lines = Set(
            try bench.launch(["web"], environment: ["CNB_EXEC_ENV": "production"]).text.split(separator: "\n"))
        #expect(lines.contains("SAMPLE_MODE=web"))
        #expect(lines.contains("SAMPLE_WEB=from app, mode web!"))
        #expect(lines.contains("PATH=\(bench.app)/.layers/sample_runtime/runtime/bin:/usr/bin:/bin"))
        #expect(!lines.contains { $0.hasPrefix("CNB_APP_DIR=") || $0.hasPrefix("CNB_LAYERS_DIR=") })
        let all = Set(try bench.launch(["--", "show"]).text.split(separator: "\n"))
        #expect(all.contains("SAMPLE_MODE=launch"))
        #expect(!all.contains { $0.hasPrefix("SAMPLE_WEB=") })
    }
}
