import Domain
import Glibc
import OS
import Synchronization
import Testing

@testable import Git

@Suite struct PushTests {
    let fixture: GitFixture
    let app = AppID.random()
    let zero = PushCommand.zero

    init() throws { fixture = try GitFixture() }

    @Test func tagsAndTheirOptionsReachTheHookAndAreStored() async throws {
        try await fixture.client.create(app: app)
        let work = try await fixture.commit(["a": "1"])
        try await fixture.git(["tag", "-a", "-m", "first", "v1"], in: work)
        let tag = try await fixture.git(["rev-parse", "v1"], in: work)
        let command = PushCommand(ref: "refs/tags/v1", old: zero, new: tag)
        let reply = try await fixture.serve(
            app, GitFixture.request([command], options: ["fast"]) + fixture.pack(tag, in: work))
        #expect(reply.contains("ok refs/tags/v1"), "\(reply)")
        let hello = try #require(fixture.paasd.state.withLock { $0.hellos.first })
        #expect(hello.commands == [command])
        #expect(hello.options == ["fast"])
        #expect(hello.ticket == "a ticket")
        #expect(try await fixture.client.readRef(app: app, ref: "refs/tags/v1") == tag)
        // A deploy names a commit; a tag object is told from one that is missing.
        let client = fixture.client
        let wrong = await #expect(throws: PaaSError.self) {
            try await client.pin(app: app, build: .random(), commit: tag)
        }
        #expect(wrong?.code == .invalid && wrong?.message.contains("is a tag, not a commit") == true)
        let missing = await #expect(throws: PaaSError.self) {
            try await client.pin(app: app, build: .random(), commit: String(repeating: "1", count: 40))
        }
        #expect(missing?.code == .notFound)
        #expect(try await client.pins(app: app).isEmpty)
    }

    @Test func morePushedRefsThanAreTakenAreToldSo() async throws {
        try await fixture.client.create(app: app)
        let work = try await fixture.commit(["a": "1"])
        let tip = try await fixture.git(["rev-parse", "HEAD"], in: work)
        let commands = (0...PushProtocol.maximumCommands).map {
            PushCommand(ref: "refs/tags/\($0)", old: zero, new: tip)
        }
        let reply = try await fixture.serve(
            app, GitFixture.request(commands) + fixture.pack(tip, in: work))
        #expect(reply.contains("ng refs/tags/7 at most 5000 refs can be pushed at once"), "\(reply.prefix(2000))")
        #expect(fixture.paasd.state.withLock { $0.hellos.isEmpty })
    }

    @Test func thePlatformsOwnRefsAreOutOfReach() async throws {
        try await fixture.client.create(app: app)
        let work = try await fixture.commit(["a": "1"])
        let tip = try await fixture.git(["rev-parse", "HEAD"], in: work)
        let ref = "refs/paas/builds/\(BuildID.random())"
        let reply = try await fixture.serve(
            app, GitFixture.request([PushCommand(ref: ref, old: zero, new: tip)]) + fixture.pack(tip, in: work))
        #expect(reply.contains("ng \(ref) deny updating a hidden ref"), "\(reply)")
        #expect(fixture.paasd.state.withLock { $0.hellos.isEmpty })
        #expect(try await fixture.client.readRef(app: app, ref: ref) == nil)
    }

    @Test func aRepositorysOwnHooksAndSettingsAreNotUsed() async throws {
        try await fixture.client.create(app: app)
        let repository = fixture.repository(app), proof = fixture.root + "/proof"
        for folder in ["hooks", "evil"] {
            try Files.makeDirectories("\(repository)/\(folder)")
            for hook in [
                "pre-receive", "update", "post-receive", "post-update", "proc-receive", "reference-transaction",
            ] {
                try Files.writeDurably(
                    "\(repository)/\(folder)/\(hook)", "#!/bin/sh\nenv >\(proof)\n".utf8, mode: 0o755)
            }
        }
        for (key, value) in [
            ("core.hooksPath", repository + "/evil"), ("receive.fsckObjects", "false"), ("receive.autogc", "true"),
            ("core.fsmonitor", "sh -c 'env >\(proof)'"), ("uploadpack.packObjectsHook", "sh -c 'env >\(proof)'"),
        ] { try await fixture.git(["config", key, value], in: repository) }
        let work = try await fixture.commit(["a": "1"])
        let tip = try await fixture.git(["rev-parse", "HEAD"], in: work)
        let reply = try await fixture.serve(
            app,
            GitFixture.request([PushCommand(ref: "refs/heads/x", old: zero, new: tip)]) + fixture.pack(tip, in: work))
        #expect(reply.contains("ok refs/heads/x"), "\(reply)")
        #expect(fixture.paasd.state.withLock { $0.hellos.count } == 1)
        let clone = fixture.root + "/clone.git"
        try await fixture.git(["clone", "-q", "--bare", repository, clone], in: fixture.root)
        let want = PacketWriter.line("want \(tip) side-band-64k ofs-delta\n") + PacketWriter.flush
        let exchange = try await fixture.client.serve(
            app: app, service: .uploadPack, protocolVersion: nil, ticket: nil)
        try await exchange.write(want + PacketWriter.line("done\n"))
        try await exchange.finishWriting()
        #expect(try await GitFixture.readAll(exchange).contains("PACK"))
        #expect(!Files.exists(proof))
    }

    @Test func aCommitOfShallowOriginIsTidiedWhenTheHookBegins() async throws {
        try await fixture.client.create(app: app)
        let work = try await fixture.commit(["a": "1"])
        let tip = try await fixture.git(["rev-parse", "HEAD"], in: work)
        let file = ShallowFile(repository: fixture.repository(app))
        fixture.paasd.state.withLock { $0.holds = true }
        // The client's list names a commit that turns out to be whole here.
        async let reply = fixture.serve(
            app,
            GitFixture.request([PushCommand(ref: "refs/heads/x", old: zero, new: tip)], shallow: [tip])
                + fixture.pack(tip, in: work))
        try await eventually("the hook begins") { fixture.paasd.state.withLock { $0.hellos.count == 1 } }
        try await eventually("the list is tidied") { try file.read() == [] }
        fixture.paasd.state.withLock { $0.holds = false }
        #expect(try await reply.contains("ok refs/heads/x"))
    }

    @Test func aPushTakesNoEntryFromTheListThatAnotherReliesOn() async throws {
        try await fixture.client.create(app: app)
        let work = try await fixture.commit(["a": "1"])
        let tip = try await fixture.git(["rev-parse", "HEAD"], in: work)
        let absent = String(repeating: "1", count: 40)
        let file = ShallowFile(repository: fixture.repository(app))
        let slow = try await fixture.client.serve(
            app: app, service: .receivePack, protocolVersion: nil, ticket: "another")
        try await slow.write(
            GitFixture.request([PushCommand(ref: "refs/heads/y", old: zero, new: absent)], shallow: [absent]))
        try await eventually("the list is made") { try file.read() == [absent] }
        let reply = try await fixture.serve(
            app,
            GitFixture.request([PushCommand(ref: "refs/heads/x", old: zero, new: tip)], shallow: [tip])
                + fixture.pack(tip, in: work))
        #expect(reply.contains("ok refs/heads/x"))
        #expect(try file.read() == [absent])
        await slow.close()
        try await eventually("the list is tidied") { try file.read() == [] }
    }

    @Test func aLargePushIsTakenAsFastAsGitReadsAndNoFaster() async throws {
        try await fixture.client.create(app: app)
        let work = try await fixture.commit(["a": "1"])
        try await fixture.git(["config", "core.compression", "0"], in: work)
        let tip = try await fixture.large(150 << 20, in: work)
        let pack = try await fixture.pack(tip, in: work)
        #expect(pack.count > 150 << 20)
        let exchange = try await fixture.client.serve(
            app: app, service: .receivePack, protocolVersion: nil, ticket: "a ticket")
        try await exchange.write(
            GitFixture.request([PushCommand(ref: "refs/heads/x", old: zero, new: tip)]) + pack.prefix(1 << 20))
        var git: pid_t?
        let repository = fixture.repository(app)
        try await eventually("git runs") {
            git = try Self.process("receive-pack", repository)
            return git != nil
        }
        let stopped = try #require(git)
        kill(-stopped, SIGSTOP)
        let taken = Counter()
        let sending = Task {
            var rest = pack.dropFirst(1 << 20)
            while !rest.isEmpty {
                try await exchange.write(Array(rest.prefix(256 << 10)))
                rest = rest.dropFirst(256 << 10)
                taken.add()
            }
            try await exchange.finishWriting()
        }
        // What the sockets and pipes on the way hold is less than a megabyte.
        try await Task.sleep(for: .milliseconds(500))
        #expect(taken.value <= 8)
        kill(-stopped, SIGCONT)
        async let reply = GitFixture.readAll(exchange)
        try await sending.value
        #expect(try await reply.contains("ok refs/heads/x"))
        #expect(try await fixture.client.readRef(app: app, ref: "refs/heads/x") == tip)
    }

    /// The process with both words on its command line that leads a session.
    static func process(_ words: String...) throws -> pid_t? {
        for name in try Files.list("/proc") {
            guard let pid = pid_t(name), getsid(pid) == pid,
                let line = try? Files.read("/proc/\(pid)/cmdline", limit: 1 << 20)
            else { continue }
            let text = String(decoding: line, as: UTF8.self)
            if words.allSatisfy(text.contains) { return pid }
        }
        return nil
    }
}
