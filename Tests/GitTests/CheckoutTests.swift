import Domain
import Glibc
import OS
import Synchronization
import Testing

@testable import Git

/// What a build finds in its folder.
@Suite struct CheckoutTests {
    let fixture: GitFixture
    let app = AppID.random()

    init() throws { fixture = try GitFixture() }

    private func checkOut(_ commit: String, keeping: KeptHistory? = nil) async throws -> String {
        let target = "\(fixture.root)/checkout-\(Int.random(in: 0..<1_000_000))"
        try Files.makeDirectories(target)
        try await fixture.client.checkout(
            app: app, commit: commit, into: target, limitBytes: 1 << 24, keeping: keeping)
        return target
    }

    private final class Seen: Sendable {
        let asked = Atomic(false), ended = Atomic(false)
    }

    @Test func aCancelledCheckoutHangsUp() async throws {
        // A daemon that never answers.
        let socket = fixture.root + "/silent.sock"
        let listener = try UnixSocket.listen(socket, mode: 0o600).release()
        let seen = Seen()
        OS.Thread.start("silent") {
            let listener = OwnedFD(listener)
            guard let accepted = try? UnixSocket.accept(listener) else { return }
            let channel = FrameChannel(accepted)
            _ = try? channel.receive()
            seen.asked.store(true, ordering: .releasing)
            _ = try? channel.receive()
            seen.ended.store(true, ordering: .releasing)
        }
        let client = GitClient(socket: socket)
        let app = app
        let task = Task {
            do throws(PaaSError) {
                try await client.checkout(
                    app: app, commit: String(repeating: "0", count: 40), into: "/nowhere", limitBytes: 1, keeping: nil)
                return PaaSError.Code?.none
            } catch {
                return error.code
            }
        }
        try await eventually("the call arrives") { seen.asked.load(ordering: .acquiring) }
        task.cancel()
        #expect(await task.value == .cancelled)
        try await eventually("the daemon sees it") { seen.ended.load(ordering: .acquiring) }
    }

    @Test func attributesChangeNothing() async throws {
        try await fixture.client.create(app: app)
        let proof = fixture.root + "/proof"
        let attributes = """
            *.bat text eol=crlf
            *.txt text=auto
            id.c ident
            v.h export-subst
            secret export-ignore
            *.x filter=evil

            """
        let files = [
            ".gitattributes": attributes, "run.bat": "one\ntwo\n", "dos.txt": "one\ntwo\n", "id.c": "$Id$\n",
            "v.h": "$Format:%H$\n", "secret": "here\n", "a.x": "as it is\n",
        ]
        let commit = try await fixture.push(files, to: app)
        // The repository's own settings are no way in either.
        for (key, value) in [
            ("filter.evil.smudge", "sh -c 'touch \(proof); cat'"), ("filter.evil.process", "touch \(proof)"),
            ("core.autocrlf", "true"), ("core.eol", "crlf"), ("core.symlinks", "false"),
        ] { try await fixture.git(["config", key, value], in: fixture.repository(app)) }
        for keeping in [nil, KeptHistory(branch: "main")] {
            let target = try await checkOut(commit, keeping: keeping)
            for (name, text) in files { #expect(try Files.read("\(target)/\(name)") == Array(text.utf8), "\(name)") }
        }
        #expect(!Files.exists(proof))
    }

    @Test func carriageReturnsStayWhereTheyWereCommitted() async throws {
        try await fixture.client.create(app: app)
        let work = try await fixture.commit([".gitattributes": "* text=auto\n"])
        let blob = try await fixture.object("blob", Array("web: x\r\n".utf8), in: work)
        let attributes = try await fixture.object("blob", Array("* text eol=lf\n".utf8), in: work)
        let tree = try await fixture.git(
            ["mktree"], in: work,
            input: Array("100644 blob \(attributes)\t.gitattributes\n100644 blob \(blob)\tProcfile\n".utf8))
        let commit = try await fixture.commit(tree: tree, in: work)
        try await fixture.git(["push", "-q", fixture.repository(app), "\(commit):refs/heads/main"], in: work)
        #expect(try Files.read(try await checkOut(commit) + "/Procfile") == Array("web: x\r\n".utf8))
    }

    @Test func submodulesAreNamedWithTheirCommits() async throws {
        try await fixture.client.create(app: app)
        let work = try await fixture.commit(["a": "1", ".gitmodules": "[submodule \"x\"]\n"])
        let other = String(repeating: "5", count: 40), last = String(repeating: "7", count: 40)
        for (path, commit) in [("vendor/x", other), ("vendor.d", last)] {
            try await fixture.git(["update-index", "--add", "--cacheinfo", "160000,\(commit),\(path)"], in: work)
        }
        try await fixture.git(["commit", "-q", "-m", "submodules"], in: work)
        let tip = try await fixture.git(["rev-parse", "HEAD"], in: work)
        try await fixture.git(["push", "-q", fixture.repository(app), "HEAD:refs/heads/main"], in: work)
        let facts = try await fixture.client.inspect(app: app, commit: tip)
        #expect(facts.gitlinks == [Gitlink(path: "vendor.d", commit: last), Gitlink(path: "vendor/x", commit: other)])
        #expect(facts.hasGitmodules)
        // Each is an empty folder in the checkout, as git leaves them.
        for keeping in [nil, KeptHistory(branch: "main")] {
            let target = try await checkOut(tip, keeping: keeping)
            #expect(try Files.list("\(target)/vendor/x").isEmpty && Files.list("\(target)/vendor.d").isEmpty)
            #expect(try Files.read("\(target)/a") == Array("1".utf8))
        }

        let many = (0...TreeFacts.maximumGitlinks).map { "160000 commit \(other)\tsub\($0)\n" }.joined()
        let tree = try await fixture.git(["mktree", "--missing"], in: work, input: Array(many.utf8))
        let commit = try await fixture.commit(tree: tree, in: work)
        try await fixture.git(["push", "-q", fixture.repository(app), "\(commit):refs/heads/many"], in: work)
        let (client, app) = (fixture.client, app)
        let error = await #expect(throws: PaaSError.self) { try await client.inspect(app: app, commit: commit) }
        #expect(error?.code == .appFailed && error?.message.contains("more than 200 submodules") == true)
    }

    /// A work tree with a history: v1, then `between` commits, and a merged branch that began before v1.
    private func history(between: Int) async throws -> String {
        let work = try await fixture.commit(["a": "0"])
        try await fixture.git(["branch", "side"], in: work)
        try await fixture.git(["commit", "-q", "--allow-empty", "-m", "first"], in: work)
        try await fixture.git(["tag", "-a", "-m", "one", "v1.0"], in: work)
        try await fixture.git(["tag", "light"], in: work)
        for number in 0..<between {
            try await fixture.git(["commit", "-q", "--allow-empty", "-m", "change \(number)"], in: work)
        }
        try await fixture.git(["checkout", "-q", "side"], in: work)
        try await fixture.git(["commit", "-q", "--allow-empty", "-m", "aside"], in: work)
        try await fixture.git(["checkout", "-q", "main"], in: work)
        try await fixture.git(["merge", "-q", "--no-ff", "-m", "merge", "side"], in: work)
        try await fixture.git(["push", "-q", "--tags", fixture.repository(app), "HEAD:refs/heads/main"], in: work)
        return work
    }

    @Test func aKeptHistoryAnswersGitDescribe() async throws {
        try await fixture.client.create(app: app)
        let work = try await history(between: 3)
        let tip = try await fixture.git(["rev-parse", "HEAD"], in: work)
        let target = try await checkOut(tip, keeping: KeptHistory(branch: "main"))
        // It stands alone.
        try Files.rename(fixture.repository(app), fixture.root + "/moved.git")
        for question in [
            ["rev-parse", "HEAD"], ["rev-parse", "--abbrev-ref", "HEAD"],
            ["log", "-1", "--format=%s"], ["tag", "-l"], ["rev-list", "--count", "v1.0..HEAD"],
        ] {
            let answer = try await fixture.git(question, in: target)
            #expect(answer == (try await fixture.git(question, in: work)), "\(question)")
        }
        // git's count is rough where commits of one second come together.
        let described = try await fixture.git(["describe", "--dirty"], in: target)
        #expect(described.hasPrefix("v1.0-") && described.hasSuffix("-g\(tip.prefix(7))"), "\(described)")
        #expect(try await fixture.git(["status", "--porcelain"], in: target) == "")
        try await fixture.git(["fsck", "--strict"], in: target)
        #expect(try await fixture.git(["rev-parse", "--is-shallow-repository"], in: target) == "true")
        // Nothing of ours: no hooks, no remotes, no borrowed objects.
        #expect(!Files.exists(target + "/.git/hooks") && !Files.exists(target + "/.git/objects/info/alternates"))
        let settings = try #require(try Files.readText(target + "/.git/config"))
        #expect(!settings.contains("remote") && !settings.contains(fixture.root))
    }

    @Test func aTagTooFarAwayIsLeftOut() async throws {
        try await fixture.client.create(app: app)
        let work = try await history(between: HistoryCopy.furthestTag)
        let tip = try await fixture.git(["rev-parse", "HEAD"], in: work)
        try await fixture.git(["tag", "-a", "-m", "here", "v2.0"], in: work)
        let target = try await checkOut(tip, keeping: KeptHistory(branch: nil))
        #expect(try await fixture.git(["rev-list", "--count", "HEAD"], in: target) == "1")
        #expect(try await fixture.git(["tag", "-l"], in: target) == "")
        #expect(try await fixture.git(["rev-parse", "--abbrev-ref", "HEAD"], in: target) == "HEAD")
        try await fixture.git(["fsck"], in: target)
        // A tag of the commit itself is enough.
        try await fixture.git(["push", "-q", "--tags", fixture.repository(app)], in: work)
        let tagged = try await checkOut(tip, keeping: KeptHistory(branch: "main"))
        #expect(try await fixture.git(["describe"], in: tagged) == "v2.0")
        #expect(try await fixture.git(["rev-list", "--count", "HEAD"], in: tagged) == "1")
    }

    @Test func aHistoryThatWasPushedShallowIsKeptShallow() async throws {
        try await fixture.client.create(app: app)
        let work = try await history(between: 1)
        let clone = fixture.root + "/shallow"
        try await fixture.git(["clone", "-q", "--depth=1", "file://\(work)", clone], in: fixture.root)
        let tip = try await fixture.git(["rev-parse", "HEAD"], in: clone)
        let shallow = AppID.random()
        try await fixture.client.create(app: shallow)
        let commands = [PushCommand(ref: "refs/heads/main", old: PushCommand.zero, new: tip)]
        let reply = try await fixture.serve(
            shallow, GitFixture.request(commands, shallow: [tip]) + fixture.pack(tip, in: clone))
        #expect(reply.contains("ok refs/heads/main"), "\(reply)")
        let target = fixture.root + "/of-shallow"
        try Files.makeDirectories(target)
        try await fixture.client.checkout(
            app: shallow, commit: tip, into: target, limitBytes: 1 << 20, keeping: KeptHistory(branch: "main"))
        try await fixture.git(["fsck"], in: target)
        #expect(try await fixture.git(["rev-parse", "HEAD"], in: target) == tip)
    }
}
