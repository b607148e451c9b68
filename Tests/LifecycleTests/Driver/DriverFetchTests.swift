import Domain
import Glibc
import OS
import Testing

@testable import Lifecycle

/// Fetching over HTTP from a server on loopback: buildpacks, sources, submodules.
@Suite struct DriverFetchTests {
    /// A bare repository with the files of `folder`, to be had as `git/NAME.git`.
    @discardableResult
    private func publish(_ scratch: Scratch, _ name: String, from folder: String, message: String = "one") throws
        -> String
    {
        let work = "\(scratch.path)/\(folder)"
        if !scratch.has("\(folder)/.git") { try scratch.git(["init", "-q", work]) }
        try scratch.git(["-C", work, "add", "-A"])
        try scratch.git(["-C", work, "commit", "-q", "--allow-empty", "-m", message])
        let bare = "\(scratch.path)/forge/git/\(name).git"
        if !scratch.has("forge/git/\(name).git") {
            try Files.makeDirectories(scratch.path + "/forge/git")
            try scratch.git(["init", "-q", "--bare", bare])
        }
        try scratch.git(["-C", work, "push", "-q", "-f", "--all", bare])
        try scratch.git(["-C", work, "push", "-q", "-f", "--tags", bare])
        return try scratch.git(["-C", work, "rev-parse", "HEAD"]).text.split(separator: "\n").first.map(String.init)
            ?? ""
    }

    // MARK: Buildpacks

    @Test func aBuildpackByBranchTagAndCommit() throws {
        let build = try DriverFixture()
        try build.app("file", "x")
        try build.pack("pack", compile: "echo this is the first")
        let first = try publish(build.scratch, "pack", from: "pack")
        try build.scratch.git(["-C", build.scratch.path + "/pack", "tag", "v1"])
        try build.pack("pack", compile: "echo this is the second")
        let second = try publish(build.scratch, "pack", from: "pack", message: "two")
        let forge = try ForgeServer(root: build.scratch.path + "/forge")
        for (ref, words, commit) in [
            ("", "second", second), ("#main", "second", second), ("#v1", "first", first), ("#\(first)", "first", first),
        ] {
            build.environment["PAAS_BUILDPACKS"] = "\(forge.address)/git/pack.git\(ref)"
            let ended = try build.build()
            #expect(
                ended.status == .built && ended.says("this is the \(words)") && ended.says("Commit \(commit)"),
                "\(ended.output)")
            #expect(
                try build.report().buildpacks == [
                    .init(name: "pack", url: "\(forge.address)/git/pack.git\(ref)", commit: commit)
                ])
        }
        build.environment["PAAS_BUILDPACKS"] = "\(forge.address)/git/pack.git#nonesuch"
        #expect(try build.build().says("has no branch or tag \"nonesuch\""))
        build.environment["PAAS_BUILDPACKS"] = "\(forge.address)/git/pack.git#\(first.prefix(10))"
        let short = try build.build()
        #expect(short.status == .buildpackUnusable && short.says("all its 40 digits"))
        build.environment["PAAS_BUILDPACKS"] = "\(forge.address)/git/pack.git#\(String(repeating: "d", count: 40))"
        #expect(try build.build().says("has no branch or tag \"dddd"))
    }

    @Test func aServerOfPlainFilesWillDo() throws {
        let build = try DriverFixture()
        try build.app("file", "x")
        try build.pack("pack", compile: "echo plain")
        try publish(build.scratch, "pack", from: "pack")
        try build.scratch.git(["-C", build.scratch.path + "/forge/git/pack.git", "update-server-info"])
        #expect(rename(build.scratch.path + "/forge/git", build.scratch.path + "/forge/files") == 0)
        let forge = try ForgeServer(root: build.scratch.path + "/forge")
        build.environment["PAAS_BUILDPACKS"] = "\(forge.address)/files/pack.git"
        let ended = try build.build()
        #expect(ended.status == .built && ended.says("plain"), "\(ended.output)")
    }

    @Test func passwordsAreUsedAndNeverPrinted() throws {
        let build = try DriverFixture()
        try build.app("file", "x")
        try build.pack("pack", compile: "echo private; env")
        try publish(build.scratch, "pack", from: "pack")
        try Files.makeDirectories(build.scratch.path + "/forge/private")
        try build.scratch.run("/usr/bin/bsdtar", ["-czf", "forge/private/pack.tgz", "-C", "pack", "bin"])
        let forge = try ForgeServer(root: build.scratch.path + "/forge")
        for name in ["pack.git", "pack.tgz"] {
            try build.config("BUILDPACK_URL", "http://u:hunter2@127.0.0.1:\(forge.port)/private/\(name)")
            let ended = try build.build()
            #expect(ended.status == .built && ended.says("private"), "\(ended.output)")
            #expect(!ended.says("hunter2"))
            #expect(try !build.text("result/build.json").contains("hunter2"))
            try build.config("BUILDPACK_URL", "http://u:hunter3@127.0.0.1:\(forge.port)/private/\(name)")
            let refused = try build.build()
            #expect(
                refused.status == .buildpackUnusable && refused.says("wants another user name"), "\(refused.output)")
            #expect(!refused.says("hunter3"))
        }
    }

    @Test func passwordsDoNotFollowARedirect() throws {
        let build = try DriverFixture()
        try build.app("file", "x")
        try build.pack("pack", compile: "echo moved here")
        try publish(build.scratch, "pack", from: "pack")
        let other = try ForgeServer(root: build.scratch.path + "/forge")
        try Files.makeDirectories(build.scratch.path + "/first")
        let first = try ForgeServer(root: build.scratch.path + "/first")
        let rest = "127.0.0.1:\(first.port)/to/\(other.port)/git/pack.git"
        build.environment["PAAS_BUILDPACKS"] = "http://u:hunter2@\(rest)"
        let refused = try build.build()
        #expect(
            refused.status == .buildpackUnusable && refused.says("was moved; an address with a user name is not"),
            "\(refused.output)")
        #expect(build.scratch.has("first/seen") && !build.scratch.has("forge/seen"))
        build.environment["PAAS_BUILDPACKS"] = "http://\(rest)"
        let followed = try build.build()
        #expect(followed.status == .built && followed.says("moved here"), "\(followed.output)")
    }

    @Test func aPackAboveTheLimitIsToldAsThat() throws {
        let scratch = try Scratch()
        let random = try OwnedFD.open("/dev/urandom", O_RDONLY)
        try Files.makeDirectories(scratch.path + "/big")
        // Above the limit with all that is allowed on top of it.
        var bytes: [UInt8] = []
        while bytes.count < 20 << 20 { bytes += try random.read(upTo: 1 << 20) }
        try Files.writeDurably(scratch.path + "/big/noise", bytes)
        let commit = try publish(scratch, "big", from: "big")
        let forge = try ForgeServer(root: scratch.path + "/forge")
        for ref in [nil, commit] {
            let folder = "\(scratch.path)/\(ref ?? "head").git"
            try Files.makeDirectories(folder)
            let fetch = GitFetch(
                url: try FetchURL("\(forge.address)/git/big.git"), gitFolder: folder, environment: [:],
                limits: .init(seconds: 60, slowSeconds: 30, bytes: 1 << 20, files: 10), home: scratch.path)
            #expect(throws: FetchFailure.tooLarge(limit: 1 << 20)) { try fetch.fetch(ref) }
        }
    }

    @Test func wordsOfAnAddressAreNoReason() {
        let text =
            "fatal: unable to access 'http://h/not-found/certificate.git/': The requested URL returned error: 503"
        #expect(FetchFailure.git(text, secrets: []) == .status(503))
        #expect(FetchFailure.git("fatal: not found git@h:x", secrets: []) == .notFound)
        #expect(
            FetchFailure.git("error: git@h:ssl_/x.git timed out", secrets: [], address: "git@h:ssl_/x.git")
                == .timeout(seconds: 30))
        #expect(!FetchFailure.words(of: "index-pack --shallow-file x", without: ["--shallow-file"]).contains("shallow"))
    }

    @Test func whatCantBeFetchedIsToldApart() throws {
        let build = try DriverFixture()
        try build.app("file", "x")
        try Files.makeDirectories(build.scratch.path + "/forge/git")
        try build.scratch.write("forge/page.tgz", "<html>")
        let forge = try ForgeServer(root: build.scratch.path + "/forge")
        for (url, words) in [
            ("\(forge.address)/git/none.git", "is not there (404)"),
            ("\(forge.address)/none.tgz", "is not there (404)"),
            ("\(forge.address)/status/503", "answered with HTTP status 503"),
            ("\(forge.address)/status/503/x.tgz", "answered with HTTP status 503"),
            ("http://127.0.0.1:1/x.git", "refuses the connection"),
            ("http://127.0.0.1:1/x.tgz", "refuses the connection"),
            ("http://nonesuch.invalid/x.git", "host name does not resolve"),
            ("http://nonesuch.invalid/x.tgz", "host name does not resolve"),
            ("https://127.0.0.1:\(forge.port)/x.tgz", "certificate"), ("\(forge.address)/page.tgz", "no archive"),
        ] {
            build.environment["PAAS_BUILDPACKS"] = url
            let ended = try build.build()
            #expect(ended.status == .buildpackUnusable && ended.says(words), "\(url): \(ended.output)")
        }
        build.environment["PAAS_NETWORK"] = "none"
        #expect(try build.build().says("this build has no network"))
    }

    @Test func aTarballIsPinnedByItsDigestAndAnEvilOneRefused() throws {
        let build = try DriverFixture()
        try build.app("file", "x")
        try build.pack("pack-main", compile: "echo from a tarball")
        try Files.makeDirectories(build.scratch.path + "/forge")
        try build.scratch.run("/usr/bin/bsdtar", ["-czf", "forge/pack.tgz", "pack-main"])
        let digest = try build.scratch.run("/usr/bin/sha256sum", ["forge/pack.tgz"]).text.prefix(64)
        var evil = TarBuilder()
        evil.add("bin/detect", content: Array("#!/bin/bash\n".utf8))
        evil.add("../../evil", content: [1])
        try Files.writeDurably(build.scratch.path + "/forge/evil.tar", evil.finished)
        let forge = try ForgeServer(root: build.scratch.path + "/forge")
        build.environment["PAAS_BUILDPACKS"] = "\(forge.address)/pack.tgz"
        let ended = try build.build()
        #expect(ended.status == .built && ended.says("from a tarball"), "\(ended.output)")
        #expect(try build.report().buildpacks.first?.commit == String(digest))
        build.environment["PAAS_BUILDPACKS"] = "\(forge.address)/evil.tar"
        let refused = try build.build()
        #expect(refused.status == .buildpackUnusable && refused.says("\"../../evil\" with '..'"), "\(refused.output)")
    }

    // MARK: Sources

    @Test func aSourceFromGit() throws {
        let build = try DriverFixture()
        try build.app("left-over", "of an earlier try")
        try build.scratch.write("src/Procfile", "web: ./run\n")
        try build.scratch.write("src/run", "#!/bin/sh\n", mode: 0o755)
        #expect(symlink("/etc/passwd", build.scratch.path + "/src/link") == 0)
        try publish(build.scratch, "app", from: "src")
        try build.scratch.git(["-C", build.scratch.path + "/src", "tag", "-a", "-m", "t", "v3.1"])
        let commit = try publish(build.scratch, "app", from: "src", message: "later")
        try build.scratch.git(["-C", build.scratch.path + "/src", "tag", "v3.2"])
        try publish(build.scratch, "app", from: "src", message: "latest")
        try build.scratch.git([
            "-C", build.scratch.path + "/forge/git/app.git", "update-ref", "refs/heads/main", commit,
        ])
        let forge = try ForgeServer(root: build.scratch.path + "/forge")
        build.environment["SOURCE_VERSION"] = nil
        build.environment["PAAS_SOURCE"] = #"{"kind":"git","url":"\#(forge.address)/git/app.git","ref":"main"}"#
        let ended = try build.build()
        #expect(
            ended.status == .built && ended.says("-----> Fetching \(forge.address)/git/app.git at main"),
            "\(ended.output)")
        #expect(build.has("app/run") && !build.has("app/left-over") && !build.has("app/.git"))
        let report = try build.report()
        #expect(report.source?.commit == commit && report.source?.tree?.count == 40)
        try build.config("KEEP_GIT_DIR", "1")
        #expect(try build.build().status == .built)
        #expect(
            try build.scratch.git(["-C", build.scratch.path + "/root/app", "rev-parse", "HEAD"]).text.hasPrefix(commit))
        #expect(try build.scratch.git(["-C", build.scratch.path + "/root/app", "tag", "-l"]).text == "v3.2\n")
        build.environment["PAAS_CHECKOUT_LIMIT_BYTES"] = "5"
        let large = try build.build()
        #expect(large.status == .tooLarge && large.says("larger than the 5 B"), "\(large.output)")
        build.environment["PAAS_SOURCE"] = #"{"kind":"git","url":"\#(forge.address)/git/none.git"}"#
        #expect(try build.build().status == .sourceUnavailable)
    }

    @Test func aSourceFromATarball() throws {
        let build = try DriverFixture()
        try build.scratch.write("src/app-main/Procfile", "web: ./run\n")
        try build.scratch.write("src/app-main/.git/config", "[core]\n")
        build.environment["PAAS_SOURCE"] = #"{"kind":"tar"}"#
        func pack() throws {
            try build.scratch.run(
                "/usr/bin/bsdtar", ["-c", "--zstd", "-f", "root/tmp/source.tar", "-C", "src", "app-main"])
        }
        try pack()
        let ended = try build.build()
        #expect(ended.status == .built, "\(ended.output)")
        #expect(build.has("app/Procfile") && !build.has("app/.git") && !build.has("tmp/source.tar"))
        #expect(try build.report().source?.sha256?.count == 64)
        try pack()
        build.environment["PAAS_CHECKOUT_LIMIT_BYTES"] = "3"
        #expect(try build.build().status == .tooLarge)
        build.environment["PAAS_CHECKOUT_LIMIT_BYTES"] = nil
        try build.scratch.write(
            "src/app-main/model.bin",
            "version https://git-lfs.github.com/spec/v1\noid sha256:\(String(repeating: "a", count: 64))\nsize 12345\n")
        try pack()
        let pointer = try build.build()
        #expect(
            pointer.status == .sourceUnusable
                && pointer.says("Git LFS pointers, and LFS is not supported: \"model.bin\""))
        try Files.remove(build.scratch.path + "/src/app-main/model.bin")
        try build.scratch.write("src/app-main/Procfile", "<<<<<<< HEAD\nweb: x\n")
        try pack()
        #expect(try build.build().status == .sourceUnusable)
        try Files.writeDurably(build.scratch.path + "/root/tmp/source.tar", "no archive".utf8)
        #expect(try build.build().status == .sourceUnavailable)
    }

    // MARK: Submodules

    /// A source with a submodule at `vendor/lib`, and the forge that has it.
    private func withSubmodule(_ url: (ForgeServer) -> String) throws -> (DriverFixture, ForgeServer, String) {
        let build = try DriverFixture()
        try build.scratch.write("lib/lib.c", "int x;\n")
        let commit = try publish(build.scratch, "lib", from: "lib")
        let forge = try ForgeServer(root: build.scratch.path + "/forge")
        try build.app("Procfile", "web: x")
        try build.app(".gitmodules", "[submodule \"lib\"]\n\tpath = vendor/lib\n\turl = \(url(forge))\n")
        build.environment["PAAS_SUBMODULES"] = #"[{"path":"vendor/lib","commit":"\#(commit)"}]"#
        return (build, forge, commit)
    }

    @Test func submodulesAreFilledAtTheirCommit() throws {
        let (build, forge, commit) = try withSubmodule { $0.address + "/git/lib.git" }
        try build.scratch.write("lib/later.c", "int y;\n")
        try publish(build.scratch, "lib", from: "lib", message: "later")
        let ended = try build.build()
        #expect(
            ended.status == .built
                && ended.says("\"vendor/lib\" from \(forge.address)/git/lib.git at \(commit.prefix(12))"),
            "\(ended.output)")
        #expect(
            build.has("app/vendor/lib/lib.c") && !build.has("app/vendor/lib/later.c")
                && !build.has("app/vendor/lib/.git"))
    }

    @Test func whatCantBeHadStaysEmptyOrEndsTheBuild() throws {
        let (build, _, _) = try withSubmodule { _ in "http://127.0.0.1:1/lib.git" }
        let auto = try build.build()
        #expect(
            auto.status == .built && auto.says("refuses the connection") && auto.says("The build goes on without"),
            "\(auto.output)")
        try build.config("GIT_SUBMODULES", "required")
        #expect(try build.build().status == .sourceUnavailable)
        try build.config("GIT_SUBMODULES", "off")
        #expect(try build.build().says("Submodules stay empty (GIT_SUBMODULES=off): \"vendor/lib\""))
        try build.config("GIT_SUBMODULES", "maybe")
        #expect(try build.build().status == .sourceUnusable)
    }

    @Test func aHostThatDoesNotAnswerIsAskedOnce() throws {
        let (build, _, commit) = try withSubmodule { _ in "http://127.0.0.1:1/lib.git" }
        try build.app(
            ".gitmodules",
            ["a", "b"].map { "[submodule \"\($0)\"]\n\tpath = \($0)\n\turl = http://127.0.0.1:1/\($0).git\n" }.joined())
        build.environment["PAAS_SUBMODULES"] =
            #"[{"path":"a","commit":"\#(commit)"},{"path":"b","commit":"\#(commit)"}]"#
        let ended = try build.build()
        #expect(ended.status == .built, "\(ended.output)")
        #expect(
            ended.says(
                "\"b\" (http://127.0.0.1:1/b.git) can't be reached: its host refuses the connection; it is not asked again"
            ),
            "\(ended.output)")
        #expect(!ended.says("a.git) can't be reached: its host refuses the connection; it"))
    }

    @Test func submodulesTogetherHaveALimitOfTime() throws {
        let (build, forge, commit) = try withSubmodule { $0.address + "/git/lib.git" }
        let root = build.scratch.path + "/root/app"
        var modules = SubmoduleFetch(
            mode: .auto, output: BuildOutput(), isOffline: false, environment: [:], home: build.scratch.path,
            work: build.scratch.path, root: root, budget: 1 << 20, autoSeconds: 0)
        try modules.fetch([.init(path: "vendor/lib", commit: commit)], base: nil) { _ in false }
        #expect(!build.has("app/vendor/lib/lib.c") && !build.scratch.has("forge/seen"))
        _ = forge.port
    }

    @Test func submodulesThatNobodyCanFetchHaveTheirOwnWords() throws {
        let (build, _, commit) = try withSubmodule { _ in "../lib.git" }
        #expect(try build.build().says("is relative, and a push does not say what to"))
        try build.app(".gitmodules", "[submodule \"lib\"]\n\tpath = vendor/lib\n\turl = ext::sh -c id\n")
        #expect(try build.build().says("white space"))
        try Files.remove(build.scratch.path + "/root/app/.gitmodules")
        #expect(try build.build().says(".gitmodules does not name"))
        try build.app(".gitmodules", "[submodule \"lib\"]\n\tpath = out/lib\n\turl = http://127.0.0.1:1/x\n")
        #expect(symlink("/tmp", build.scratch.path + "/root/app/out") == 0)
        build.environment["PAAS_SUBMODULES"] = #"[{"path":"out/lib","commit":"\#(commit)"}]"#
        #expect(try build.build().says("its path is no empty folder"))
    }

    @Test func modulesOfModulesAndRelativeAddressesOfAFetchedSource() throws {
        let build = try DriverFixture()
        try build.scratch.write("inner/i.c", "int i;\n")
        let inner = try publish(build.scratch, "inner", from: "inner")
        func link(_ folder: String, _ path: String, _ commit: String) throws {
            try build.scratch.write(
                "\(folder)/.gitmodules", "[submodule \"x\"]\n\tpath = \(path)\n\turl = ../\(path).git\n")
            try build.scratch.git(["init", "-q", "\(build.scratch.path)/\(folder)"])
            try build.scratch.git(["-C", "\(build.scratch.path)/\(folder)", "add", ".gitmodules"])
            try build.scratch.git([
                "-C", "\(build.scratch.path)/\(folder)", "update-index", "--add", "--cacheinfo",
                "160000,\(commit),\(path)",
            ])
            try build.scratch.git(["-C", "\(build.scratch.path)/\(folder)", "commit", "-q", "-m", "m"])
            try build.scratch.git(["init", "-q", "--bare", "\(build.scratch.path)/forge/git/\(folder).git"])
            try build.scratch.git([
                "-C", "\(build.scratch.path)/\(folder)", "push", "-q", "\(build.scratch.path)/forge/git/\(folder).git",
                "--all",
            ])
        }
        try link("middle", "inner", inner)
        let middle = try build.scratch.git(["-C", build.scratch.path + "/middle", "rev-parse", "HEAD"]).text.prefix(40)
        try link("outer", "middle", String(middle))
        let forge = try ForgeServer(root: build.scratch.path + "/forge")
        build.environment["PAAS_SOURCE"] = #"{"kind":"git","url":"\#(forge.address)/git/outer.git"}"#
        build.environment["PAAS_BUILDPACKS"] = "file://\(build.scratch.path)/custom/one"
        try build.pack("custom/one")
        let ended = try build.build()
        #expect(ended.status == .built, "\(ended.output)")
        #expect(build.has("app/middle/inner/i.c"))
    }
}
