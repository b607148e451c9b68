import Domain
import Glibc
import OS
import Testing

@testable import Lifecycle

/// The driver as a whole, on this machine's folders, with real bash.
@Suite struct DriverTests {
    // MARK: The contract of classic buildpacks

    @Test func scriptsGetWhatTheContractSays() throws {
        let build = try DriverFixture()
        try build.config("SECRET", "s3 cret")
        try build.app("file", "x")
        build.environment["PAAS_TOKEN"] = "t0ken"
        build.environment["GIT_DIR"] = "/nowhere"
        try build.custom(
            compile: """
                echo "args $1 $2 $3 cwd $PWD"
                echo "secret $(cat $3/SECRET)"
                env | sort | sed 's/^/env /'
                touch "$2/kept"; echo tmp >"$HOME/inhome"; echo to-stderr >&2
                """, release: "printf 'default_process_types:\\n  web: x\\n'")
        let ended = try build.build()
        let root = build.scratch.path + "/root"
        #expect(ended.status == .built, "\(ended.output)")
        #expect(ended.says("args \(root)/app \(root)/cache \(root)/env cwd \(root)/app"))
        #expect(ended.says("secret s3 cret") && ended.says("to-stderr") && ended.says("-----> Custom app detected"))
        #expect(!ended.says("t0ken") && !ended.says("env GIT_DIR") && !ended.says("env SECRET"))
        for line in [
            "STACK=debian-13", "SOURCE_VERSION=0123", "REQUEST_ID=r1", "DYNO=run.1", "CURL_TIMEOUT=180", "LANG=C.UTF-8",
        ] {
            #expect(ended.says("env \(line)\n"), "\(line)")
        }
        #expect(build.has("cache/kept") && !build.has("app/inhome"))
        #expect(try build.text("result/release.yml") == "default_process_types:\n  web: x\n")
        let report = try build.report()
        #expect(report.displayName == "Custom" && !report.detected)
        #expect(report.buildpacks.map(\.name) == ["one"])
        #expect(report.buildpacks.first?.url == "file://\(build.scratch.path)/custom/one")
    }

    @Test func severalRunInOrderWithTheExportsOfThoseBefore() throws {
        let build = try DriverFixture()
        try build.app("file", "x")
        try build.pack(
            "custom/first", compile: "echo 'export FROM_FIRST=1' >\"$(dirname $0)/../export\"; touch $1/made-by-first",
            release: "printf 'default_process_types:\\n  web: first\\n'")
        try build.pack(
            "custom/second", detect: "[[ -f $1/made-by-first && $FROM_FIRST = 1 ]] && echo Second",
            compile: "echo second sees $FROM_FIRST",
            release: "printf 'default_process_types:\\n  web: second '; echo $FROM_FIRST")
        let packs = build.scratch.path + "/custom"
        build.environment["PAAS_BUILDPACKS"] = "file://\(packs)/first file://\(packs)/second"
        let ended = try build.build()
        #expect(ended.status == .built && ended.says("second sees 1"), "\(ended.output)")
        #expect(try build.text("result/release.yml").contains("web: second 1"))
        #expect(!build.scratch.has("custom/first/export"), "the operator's own folder is not written to")
    }

    @Test func whatAnExportSetsDoesNotReachTheDriversOwnShell() throws {
        let build = try DriverFixture()
        try build.app("file", "x")
        for (export, isFine) in [
            ("n=0; set --; export A='it is'", true), ("shift; set -eu; IFS=/", true), ("exit 0", false),
        ] {
            try build.pack("custom/first", compile: "printf '%s\\n' \"\(export)\" >\"$(dirname $0)/../export\"")
            try build.pack("custom/second", compile: "echo the second ran with $A in $1")
            build.environment["PAAS_BUILDPACKS"] = ["first", "second"].map {
                "file://\(build.scratch.path)/custom/\($0)"
            }
            .joined(separator: " ")
            let ended = try build.build()
            if isFine {
                #expect(ended.status == .built && ended.says("the second ran with"), "\(export): \(ended.output)")
            } else {
                #expect(ended.status != .built && ended.says("ended the shell that reads it"), "\(ended.output)")
            }
        }
    }

    @Test func wordsOfTheScriptAreLiteral() throws {
        let scratch = try Scratch()
        try scratch.write("it's/export", "n=0; set --; export A='one two'\n")
        let text = ScriptRunner.script(
            reading: [scratch.path + "/it's/export", scratch.path + "/none"],
            then: ["/bin/sh", "-c", "echo \"$A|$1|$#\"", "sh", "a 'b' $c"])
        #expect(try scratch.run("/bin/bash", ["-c", text]).text == "one two|a 'b' $c|1\n")
    }

    @Test func modesAreMended() throws {
        let build = try DriverFixture()
        try build.app("file", "x")
        try build.custom(mode: 0o644)
        #expect(try build.build().status == .built)
    }

    @Test func anotherFolderThanTheApps() throws {
        let build = try DriverFixture()
        try build.app("file", "x")
        try build.app("sub/deep", "y")
        try build.config("BUILD_IN_APP_DIR", "0")
        let root = build.scratch.path + "/root"
        try build.custom(
            compile: "echo at $1 home $HOME has $(ls \(root)/app | wc -l); echo z >$1/new; touch \(root)/app/rubbish")
        let ended = try build.build()
        #expect(
            ended.status == .built && ended.says("at \(root)/tmp/build_r1 home \(root)/app has 0"), "\(ended.output)")
        #expect(try build.text("app/new") == "z\n" && build.text("app/sub/deep") == "y")
        #expect(!build.has("app/rubbish") && !build.has("tmp/build_r1/file"))
    }

    @Test func whatAScriptLeavesRunningIsEnded() throws {
        let build = try DriverFixture()
        try build.app("file", "x")
        try build.custom(
            compile: """
                setsid sleep 300 & echo $! >"$1/pid"
                (setsid bash -c 'sleep 300 & echo $! >"$1/pid2"; sleep 300' x "$1" &) ; sleep 0.2
                """)
        let ended = try build.build()
        #expect(ended.status == .built && ended.says("running; ended"), "\(ended.output)")
        for file in ["pid", "pid2"] {
            let pid = try #require(pid_t(try build.text("app/\(file)").trimmingWhitespace()))
            #expect(kill(pid, 0) != 0)
        }
    }

    @Test func reportsAreCollectedAfterSuccessAndFailure() throws {
        let build = try DriverFixture()
        try build.app("file", "x")
        try build.custom(compile: "exit 1", more: ["bin/report": "#!/bin/bash\necho '{\"version\": 3}'\n"])
        #expect(try build.build().status == .compileFailed)
        #expect(try build.text("result/report.json") == #"[{"buildpack":"one","report":{"version":3}}]"#)
        try build.custom("two", more: ["bin/report": "#!/bin/bash\nexit 9\n"])
        #expect(try build.build().status == .built)
        #expect(!build.has("result/report.json"))
    }

    @Test func reportsSeeTheFolderThatWasBuiltAndComeBeforeTheBill() throws {
        let build = try DriverFixture()
        try build.app("file", "x")
        try build.config("BUILD_IN_APP_DIR", "0")
        try build.custom(
            compile: "touch $1/made",
            more: [
                "bin/report":
                    "#!/bin/bash\n[[ -f $1/made && ! -e \(build.scratch.path)/root/result/sbom.cdx.json ]] && echo '\"there\"'\n"
            ])
        let ended = try build.build()
        #expect(ended.status == .built, "\(ended.output)")
        #expect(try build.text("result/report.json") == #"[{"buildpack":"one","report":"there"}]"#)
    }

    @Test func artifactsAreReported() throws {
        let build = try DriverFixture()
        try build.app("file", "x")
        let digest = String(repeating: "ab", count: 32)
        try build.custom(compile: "echo '\(digest) https://u:p@h/x.deb' >>$PAAS_ARTIFACTS")
        #expect(try build.build().status == .built)
        #expect(try build.report().artifacts == [.init(url: "https://h/x.deb", sha256: digest)])
    }

    @Test func gitsFolderGoesUnlessItIsWanted() throws {
        let build = try DriverFixture()
        try build.app(".git/HEAD", "x")
        try build.app("Procfile", "web: x")
        try build.config("KEEP_GIT_DIR", "1")
        #expect(try build.build().status == .built)
        #expect(build.has("app/.git/HEAD"))
        try Files.remove(build.scratch.path + "/root/env/KEEP_GIT_DIR")
        #expect(try build.build().status == .built)
        #expect(!build.has("app/.git"))
    }

    // MARK: Each way to be broken

    struct Broken: Sendable, CustomTestStringConvertible {
        var testDescription: String { words }
        var exit: BuildExit
        var words: String
        var detect: String? = "echo Custom"
        var compile: String? = "true"
        var release: String?
        var more: [String: String] = [:]
    }

    @Test(arguments: [
        Broken(
            exit: .buildpackUnusable, words: "Cloud Foundry buildpack", detect: nil, compile: nil,
            more: ["bin/supply": "#!/bin/bash\n"]),
        Broken(exit: .buildpackUnusable, words: "not a classic buildpack: it has no bin/detect", detect: nil),
        Broken(exit: .buildpackUnusable, words: "it has no bin/compile", compile: nil),
        Broken(exit: .buildpackUnusable, words: "first line must be", compile: nil, more: ["bin/compile": "echo hi\n"]),
        Broken(
            exit: .buildpackUnusable, words: "needs \"/usr/bin/rubinius\"", compile: nil,
            more: ["bin/compile": "#!/usr/bin/rubinius\n"]),
        Broken(
            exit: .buildpackUnusable, words: "Windows line ends", detect: nil,
            more: ["bin/detect": "#!/bin/bash\r\necho x\r\n"]),
        Broken(
            exit: .buildpackDoesNotMatch, words: "I want a file called x",
            detect: "echo I want a file called x >&2; exit 1"),
        Broken(
            exit: .buildpackUnusable, words: "bin/detect of one ended with signal 11 (SIGSEGV)", detect: "kill -SEGV $$"
        ),
        Broken(exit: .buildpackUnusable, words: "ended with exit code 127", detect: "no-such-program"),
        Broken(exit: .compileFailed, words: " !     bin/compile of one ended with exit code 3.", compile: "exit 3"),
        Broken(exit: .compileFailed, words: "ended with signal 15 (SIGTERM)", compile: "kill -TERM $$"),
        Broken(
            exit: .diskFull, words: "The build volume was full",
            compile: "echo 'cp: x: No space left on device'; exit 1"),
        Broken(
            exit: .compileFailed, words: "wrote a file export that bash can't read",
            compile: "echo 'if then' >$(dirname $0)/../export"),
        Broken(exit: .compileFailed, words: "removed the folder that is built", compile: "rm -rf $1"),
        Broken(exit: .compileFailed, words: "left nothing in the folder", compile: "rm -rf $1/*"),
        Broken(exit: .built, words: "bin/release of one ended with exit code 4", release: "echo broken >&2; exit 4"),
        Broken(exit: .built, words: "printed no YAML", release: "printf '\\xff'"),
        Broken(exit: .built, words: "no newline\n-----> Build finished", compile: "printf 'no newline'"),
    ])
    func eachFaultHasItsOwnWords(_ broken: Broken) throws {
        let build = try DriverFixture()
        try build.app("file", "x")
        // The tree may be removed only where it is no mount point.
        try build.config("BUILD_IN_APP_DIR", "0")
        try build.custom(detect: broken.detect, compile: broken.compile, release: broken.release, more: broken.more)
        let ended = try build.build()
        #expect(ended.status == broken.exit && ended.says(broken.words), "\(ended.output)")
        #expect(build.has("result/build.json"))
    }

    @Test func aBinThatIsALinkIsRefused() throws {
        let build = try DriverFixture()
        try build.app("file", "x")
        try build.custom()
        let folder = build.scratch.path + "/custom/one"
        #expect(rename(folder + "/bin", folder + "/real") == 0 && symlink("real", folder + "/bin") == 0)
        let ended = try build.build()
        #expect(ended.status == .buildpackUnusable && ended.says("its bin is no folder"), "\(ended.output)")
    }

    @Test(.enabled(if: getuid() != 0, "root may read all")) func whatCantBeReadIsNotLookedInto() throws {
        let scratch = try Scratch()
        try scratch.write("tree/shut/file", "x")
        try scratch.write("tree/open", "x")
        try Files.setMode(scratch.path + "/tree/shut", 0)
        defer { chmod(scratch.path + "/tree/shut", 0o755) }
        #expect(throws: SystemError.self) { try FolderWalk.visit(scratch.path + "/tree") { _ in .descend } }
        #expect(try FolderWalk.size(scratch.path + "/tree") > 0)
    }

    @Test func aCommitIsRecordedOnlyIfTheFilesAreIts() throws {
        let build = try DriverFixture()
        try build.app("file", "x")
        try build.custom()
        let folder = build.scratch.path + "/custom/one"
        try build.scratch.git(["init", "-q", folder])
        try build.scratch.git(["-C", folder, "add", "-A"])
        try build.scratch.git(["-C", folder, "commit", "-q", "-m", "m"])
        let commit = String(try build.scratch.git(["-C", folder, "rev-parse", "HEAD"]).text.prefix(40))
        #expect(try build.build().says("Commit \(commit)"))
        #expect(try build.report().buildpacks.first?.commit == commit)
        try build.scratch.write("custom/one/more", "x")
        let changed = try build.build()
        #expect(changed.status == .built && changed.says("has changes that are in no commit; no commit is recorded"))
        #expect(try build.report().buildpacks.first?.commit == nil)
    }

    @Test func foldersOutsideTheOperatorsAreRefused() throws {
        let build = try DriverFixture()
        try build.app("file", "x")
        try build.pack("elsewhere/pack")
        build.environment["PAAS_BUILDPACKS"] = "file://\(build.scratch.path)/elsewhere/pack"
        #expect(try build.build().says("not in a folder that the operator allows"))
        // Nor by a link in an allowed one.
        try Files.makeDirectories(build.scratch.path + "/custom")
        #expect(symlink("../elsewhere/pack", build.scratch.path + "/custom/link") == 0)
        build.environment["PAAS_BUILDPACKS"] = "file://\(build.scratch.path)/custom/link"
        let ended = try build.build()
        #expect(ended.status == .buildpackUnusable && ended.says("not in a folder that the operator allows"))
    }

    // MARK: Choosing

    @Test func detectionNamesAllAndReportsThatItWasOne() throws {
        let build = try DriverFixture()
        for file in ["Makefile", "requirements.txt", "Procfile", "Aptfile"] { try build.app(file) }
        let ended = try build.build()
        #expect(
            ended.status == .built && ended.says("Several buildpacks match: native python; native is used."),
            "\(ended.output)")
        #expect(ended.says("-----> Apt app detected") && ended.says("-----> Native app detected"))
        #expect(build.has("app/built-by-apt") && build.has("app/built-by-native") && !build.has("app/built-by-python"))
        let report = try build.report()
        #expect(
            report.detected && report.buildpacks.map(\.name) == ["apt", "native"] && report.displayName == "Native")
        #expect(try build.text("app/built-by-native") == "yes\n", "shared files are beside the copy")
    }

    @Test func eachFileThatNamesBuildpacksCounts() throws {
        let build = try DriverFixture()
        try build.app("Procfile", "web: x")
        try build.app("requirements.txt")
        try build.app("Makefile")
        try build.app(".buildpacks", "# ours\nslipway/apt\npython\n")
        try build.app("Aptfile")
        let file = try build.build()
        #expect(file.says("Buildpacks named by .buildpacks: apt, python"), "\(file.output)")
        #expect(try build.report().buildpacks.map(\.name) == ["apt", "python"])
        try build.app("app.json", #"{"buildpacks":[{"url":"heroku/python"}]}"#)
        let manifest = try build.build()
        #expect(
            manifest.says("named by app.json") && manifest.says("heroku/python: the platform's own buildpack python"))
        try build.config("BUILDPACK_URL", "slipway/native")
        #expect(try build.build().says("named by BUILDPACK_URL: native"))
        build.environment["PAAS_BUILDPACKS"] = "procfile"
        let setting = try build.build()
        #expect(setting.says("Procfile app detected") && setting.says("Aptfile found: apt runs first."))
        #expect(try build.report().detected == false)
    }

    @Test func theAppsListSaysWhatItOverrides() throws {
        let build = try DriverFixture()
        try build.app("requirements.txt")
        try build.app(".buildpacks", "python\n")
        try build.config("BUILDPACK_URL", "https://h/other.git")
        build.environment["PAAS_BUILDPACKS"] = "python"
        let ended = try build.build()
        #expect(
            ended.status == .built
                && ended.says(
                    "BUILDPACK_URL is ignored: the app's list decides; to use it: paasctl buildpacks clear"),
            "\(ended.output)")
        #expect(!ended.says(".buildpacks"))
    }

    @Test func packagesOfAnAptfileComeFirstWhoeverNamesOurBuildpacks() throws {
        let build = try DriverFixture()
        try build.app("requirements.txt")
        try build.app("Aptfile", "jq\n")
        try build.app(".buildpacks", "python\n")
        let ended = try build.build()
        #expect(ended.status == .built && ended.says("Aptfile found: apt runs first"), "\(ended.output)")
        #expect(try build.report().buildpacks.map(\.name) == ["apt", "python"])
    }

    @Test func brokenFilesOfTheSourceEndTheBuild() throws {
        for (file, text) in [("app.json", "{"), (".buildpacks", "a b"), (".slugignore", "!x")] {
            let build = try DriverFixture()
            try build.app("Procfile", "web: x")
            try build.app(file, text)
            let ended = try build.build()
            #expect(ended.status == .sourceUnusable && ended.says(file), "\(ended.output)")
        }
    }
}
