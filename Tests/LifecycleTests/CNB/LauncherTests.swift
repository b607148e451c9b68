import Domain
import Glibc
import OS
import Testing

@testable import Lifecycle

/// The launcher, started for real over folders made by hand.
@Suite struct LauncherTests {
    private func bench(_ processes: String = "", api: String = "0.12") throws -> CNBBench {
        let bench = try CNBBench()
        try bench.write(
            "app/.layers/config/metadata.toml",
            """
            \(processes)
            [[buildpacks]]
            id = "a/one"
            version = "1.0.0"
            api = "\(api)"
            [[buildpacks]]
            id = "b"
            version = "1.0.0"
            api = "0.10"
            """)
        return bench
    }

    private func execD(_ bench: CNBBench, _ path: String, _ script: String) throws {
        try bench.write("app/.layers/\(path)", "#!/bin/bash\n\(script)\n", mode: 0o755)
    }

    private static let show = """
        [[processes]]
        type = "web"
        command = ["/usr/bin/env"]
        args = []
        """

    @Test func everyFailureHasItsCodeAndWords() throws {
        let bench = try bench(
            """
            [[processes]]
            type = "gone"
            command = ["no-such-program"]
            args = []
            [[processes]]
            type = "lost"
            command = ["true"]
            args = []
            working-dir = "nowhere"
            [[processes]]
            type = "other"
            command = ["true"]
            args = []
            exec-env = ["test"]
            [[processes]]
            type = "text"
            command = ["./text"]
            args = []
            """)
        func fails(_ arguments: [String], _ code: Int32, _ words: String, _ environment: [String: String] = [:]) throws
        {
            let result = try bench.launch(arguments, environment: environment)
            #expect(result.status == code && result.errorText.contains(words), "\(result.status) \(result.errorText)")
        }
        try fails(["gone"], 85, "\"no-such-program\" is not in PATH (/usr/bin:/bin)")
        try fails(["lost"], 84, "nowhere can't be entered")
        try fails(["other"], 81, "not for the execution environment production")
        try fails([], 81, "give a process type (gone, lost, text)")
        try fails(["--"], 81, "wants a command")
        try fails(["gone"], 11, "keeps to 0.10 up to 0.15", ["CNB_PLATFORM_API": "0.3"])
        try fails(["gone"], 80, "metadata.toml is missing", ["CNB_LAYERS_DIR": "/nowhere"])
        try fails(["gone"], 84, "/nowhere can't be entered", ["CNB_APP_DIR": "/nowhere"])
        try bench.write("app/text", "no program\n", mode: 0o755)
        try fails(["text"], 86, "can't be started")
        #expect(try bench.launch(["other"], environment: ["CNB_EXEC_ENV": "test"]).status == 0)
        try bench.write("app/.layers/config/metadata.toml", "x = \n")
        try fails(["gone"], 80, "metadata.toml line 1")
        let old = try self.bench(api: "0.9")
        let result = try old.launch(["web"])
        #expect(result.status == 12 && result.errorText.contains("a/one for Buildpack API 0.9"))
    }

    @Test func execDRunsInOrderAndItsVariablesAreMerged() throws {
        let bench = try bench(Self.show)
        try execD(bench, "a_one/z/exec.d/1", "echo \"A = \\\"z1 in $PWD\\\"\" >&3; echo said; echo complained >&2")
        try execD(bench, "a_one/z/exec.d/web/1", "echo \"C = \\\"$B, then web\\\"\" >&3")
        try execD(bench, "b/l/exec.d/2", "echo \"B = \\\"after $A\\\"\" >&3")
        try execD(bench, "b/l/exec.d/worker/9", "exit 1")
        let result = try bench.launch(["web"])
        let lines = Set(result.text.split(separator: "\n"))
        #expect(lines.contains("A=z1 in \(bench.app)"), "\(result.errorText)")
        #expect(lines.contains("B=after z1 in \(bench.app)"))
        #expect(lines.contains("C=after z1 in \(bench.app), then web"))
        #expect(lines.contains("said") && result.errorText == "complained\n")
    }

    @Test func execDThatFailsStopsTheStart() throws {
        for (script, words) in [
            ("exit 9", "exit code 9"), ("echo 'A = 1' >&3", "must be a string"), ("echo 'A' >&3", "line 1"),
            ("echo '\"A-B\" = \"\"' >&3", "is no name"), ("yes >&3", "is larger than"),
        ] {
            let bench = try bench(Self.show)
            try execD(bench, "b/l/exec.d/x", script)
            let result = try bench.launch(["web"])
            #expect(result.status == 83 && result.errorText.contains(words), "\(result.errorText)")
            #expect(result.errorText.contains("/b/l/exec.d/x"))
        }
        let bench = try bench(Self.show)
        try bench.write("app/.layers/b/l/exec.d/x", "#!/bin/sh\n")
        #expect(try bench.launch(["web"]).status == 83)
    }

    @Test func execDMayLeaveAProcessBehind() throws {
        let bench = try bench(Self.show)
        // It holds descriptor 3 for longer than a start may take.
        try execD(bench, "b/l/exec.d/x", "sleep 20 >/dev/null 2>&1 & echo $! >\"$HOME/pid\"; echo 'A = \"1\"' >&3")
        let begin = Monotonic.now()
        #expect(try bench.launch(["web"]).text.contains("A=1\n"))
        #expect(Monotonic.now() - begin < 10)
        let pid = try #require(bench.text("app/pid").flatMap { Int32($0.dropLast()) })
        #expect(try Command(ProcessSpec("/bin/kill", [String(pid)])).run().status == 0)
    }

    @Test func thePathOfTypesAndWordsIsTheirs() throws {
        let bench = try bench()
        try bench.write("app/.layers/b/l/bin/tool", "#!/bin/sh\necho tool $# \"$@\"\n", mode: 0o755)
        try bench.write("app/.layers/b/l/profile.d/p.sh", "export FROM_PROFILE='it'\"'\"'s'")
        try bench.write("app/.layers/b/l/profile.d/web/q.sh", "exit 3")
        #expect(try bench.launch(["tool", "$FROM_PROFILE", "a b", "", "\"q\""]).text == "tool 4 it's a b  q\n")
        #expect(try bench.launch(["--shell", "tool $FROM_PROFILE | tr a-z A-Z"]).text == "TOOL 1 IT'S\n")
        #expect(try bench.launch(["--", "tool", "a b"]).text == "tool 1 a b\n")
        #expect(try bench.launch(["--shell", "kill -TERM $$"]).status == 143)
        #expect(try bench.launch(["--shell", "exit 5"]).status == 5)
    }

    @Test func theProgramTakesThePlaceOfTheLauncher() throws {
        let bench = try bench(
            """
            [[processes]]
            type = "who"
            command = ["/bin/bash", "-c", "echo $$ $PPID; exec 9>&-; ls /proc/$$/fd | wc -l"]
            args = []
            """)
        // bash tells its own pid and its parent's: with no fork in between that is the test.
        let words = try bench.launch(["who"]).text.split(whereSeparator: \.isWhitespace)
        #expect(words.count == 3 && words[1] == Substring(String(ProcessInfoOf.pid)))
        let shell = try bench.launch(["--shell", "echo $PPID"]).text
        #expect(shell == "\(ProcessInfoOf.pid)\n")
    }

    @Test func valuesArriveByteForByte() throws {
        let bench = try bench(Self.show)
        let program = Files.parent(try ProgramEnvironment.executablePath()) + "/paas-lifecycle"
        var spec = ProcessSpec(program, ["launch", "web"])
        let raw = Array("RAW=".utf8) + [0xFF, 0xFE, 0x0A, 0x3D]
        spec.rawEnvironment = [
            Array("CNB_APP_DIR=\(bench.app)".utf8), Array("PATH=/usr/bin:/bin".utf8), raw,
        ]
        let output = try Command(spec).run().output
        #expect(output.firstRange(of: raw) != nil)
    }
}

private enum ProcessInfoOf {
    static var pid: Int32 { getpid() }
}
