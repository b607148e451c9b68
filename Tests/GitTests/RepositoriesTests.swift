import Domain
import FoundationEssentials
import Glibc
import OS
import Testing

@testable import Git

@Suite struct RepositoriesTests {
    let fixture: GitFixture
    let app = AppID.random()

    init() throws { fixture = try GitFixture() }

    @Test func aRepositoryIsMadeOnceListedAndRemoved() async throws {
        try await fixture.client.create(app: app)
        try await fixture.client.create(app: app)
        #expect(try await fixture.client.list() == [app])
        #expect(try Files.list(fixture.settings.repositoriesDirectory) == ["\(app).git"])
        #expect(try Files.readText(fixture.repository(app) + "/HEAD") == "ref: refs/heads/main")
        try await fixture.client.remove(app: app)
        try await fixture.client.remove(app: app)
        #expect(try await fixture.client.list().isEmpty)
    }

    @Test func aRepositorySetAsideLeavesTheListAndIsKeptForAMonth() async throws {
        try await fixture.client.create(app: app)
        try await fixture.client.setAside(app: app)
        try await fixture.client.setAside(app: app)
        #expect(try await fixture.client.list().isEmpty)
        let folder = Files.parent(fixture.repository(app))
        let name = try #require(try Files.list(folder).first { $0.hasPrefix("\(app).aside-") })
        #expect(Files.exists("\(folder)/\(name)/HEAD"))
        // Another one, a month later.
        let later = time(nil) + AsideRepositories.keptSeconds + 60
        try AsideRepositories(repositories: folder).take(.random(), now: later)
        #expect(try Files.list(folder).allSatisfy { !$0.hasPrefix("\(app)") })
    }

    @Test func refsMoveOnlyByCompareAndSwap() async throws {
        let client = fixture.client
        try await client.create(app: app)
        let first = try await fixture.push(["a": "1"], to: app),
            second = try await fixture.push(["a": "2"], to: app, branch: "second")
        #expect(first != second)
        try await client.updateRef(app: app, ref: "refs/heads/x", old: nil, new: first)
        await #expect(throws: PaaSError.self) {
            try await client.updateRef(app: app, ref: "refs/heads/x", old: nil, new: second)
        }
        await #expect(throws: PaaSError.self) {
            try await client.updateRef(app: app, ref: "refs/heads/x", old: second, new: first)
        }
        try await client.updateRef(app: app, ref: "refs/heads/x", old: first, new: second)
        #expect(try await client.readRef(app: app, ref: "refs/heads/x") == second)
        #expect(try await client.readRef(app: app, ref: "refs/heads/none") == nil)
        for bad in [
            "refs/heads/../x", "HEAD", "refs/heads/a b", "refs/heads/.x", "refs/heads/x.lock", "refs/heads/x..y",
        ] {
            await #expect(throws: PaaSError.self) {
                try await client.updateRef(app: app, ref: bad, old: nil, new: first)
            }
        }
    }

    @Test func pinsKeepCommitsAndAreListed() async throws {
        let client = fixture.client, build = BuildID.random()
        try await client.create(app: app)
        let commit = try await fixture.push(["a": "1"], to: app)
        try await client.pin(app: app, build: build, commit: commit)
        try await client.pin(app: app, build: build, commit: commit)
        #expect(try await client.pins(app: app) == [build])
        try await client.unpin(app: app, build: build)
        try await client.unpin(app: app, build: build)
        #expect(try await client.pins(app: app).isEmpty)
    }

    @Test func commitsAreFoundByIdBranchAndPrefix() async throws {
        let client = fixture.client
        try await client.create(app: app)
        let commit = try await fixture.push(["a": "1"], to: app)
        for revision in [commit, String(commit.prefix(8)), "main", "refs/heads/main"] {
            #expect(try await client.resolve(app: app, revision: revision) == commit)
        }
        for revision in ["nope", "main~1", "main^{tree}", ":/subject", "@", String(repeating: "0", count: 40)] {
            await #expect(throws: PaaSError.self, "\(revision)") {
                try await client.resolve(app: app, revision: revision)
            }
        }
        let info = try await client.commitInfo(app: app, commit: commit)
        #expect(info.subject == "a subject")
        #expect(info.author == "Test")
    }

    @Test func aTreeIsInspected() async throws {
        let client = fixture.client
        try await client.create(app: app)
        let pointer =
            "version https://git-lfs.github.com/spec/v1\noid sha256:" + String(repeating: "a", count: 64)
            + "\nsize 12345\n"
        let commit = try await fixture.push(
            ["a/b.txt": "12345", "big": String(repeating: "x", count: 5000), "model.bin": pointer], to: app)
        let facts = try await client.inspect(app: app, commit: commit)
        #expect(facts.files == 3)
        #expect(facts.largestFile == "big")
        #expect(facts.totalBytes == Int64(5 + 5000 + pointer.utf8.count))
        #expect(facts.lfsPointers == ["model.bin"])
        #expect(facts.gitlinks.isEmpty)
    }

    @Test func aCheckoutMakesLinksAndFollowsNone() async throws {
        let client = fixture.client
        try await client.create(app: app)
        let commit = try await fixture.push(
            ["Procfile": "web: x\n", "dir/run": "#!/bin/sh\n", ".gitattributes": "dir export-ignore\n"],
            links: ["passwd": "/etc/passwd", "up": "../../.."], to: app)
        let target = fixture.root + "/checkout"
        try Files.makeDirectories(target)
        try await client.checkout(app: app, commit: commit, into: target, limitBytes: 1 << 20, keeping: nil)
        #expect(try Files.list(target) == [".gitattributes", "Procfile", "dir", "passwd", "up"])
        #expect(try Files.list(target + "/dir") == ["run"])
        var info = stat()
        #expect(lstat(target + "/passwd", &info) == 0)
        #expect(info.st_mode & S_IFMT == S_IFLNK)
        let error = await #expect(throws: PaaSError.self) {
            try await client.checkout(app: app, commit: commit, into: target, limitBytes: 3, keeping: nil)
        }
        #expect(error?.code == .appFailed)
    }

    @Test func callsFailClearlyWhileTheDaemonIsAway() async throws {
        let away = GitClient(socket: fixture.root + "/none.sock")
        let error = await #expect(throws: PaaSError.self) { try await away.create(app: app) }
        #expect(error?.code == .unavailable)
    }

    @Test func gitsOwnProgramsAnswerThroughAnExchange() async throws {
        let client = fixture.client
        try await client.create(app: app)
        let commit = try await fixture.push(["a": "1"], to: app)
        try await client.pin(app: app, build: .random(), commit: commit)
        let exchange = try await client.advertise(app: app, service: .receivePack, protocolVersion: nil)
        try await exchange.finishWriting()
        var reply: [UInt8] = []
        while let part = try await exchange.read() { reply += part }
        await exchange.close()
        let text = String(decoding: reply, as: UTF8.self)
        #expect(text.contains("\(commit) refs/heads/main"))
        #expect(text.contains("push-options"))
        #expect(!text.contains("refs/paas"))
    }
}
