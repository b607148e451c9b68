import Domain
import Glibc
import OS
import Synchronization
import Testing

@testable import Git

/// What goes on below sshd.
@Suite struct SessionTests {
    let app = AppID.random()

    @Test func aFetchOverAnOpenConnectionBeginsWithTheRefs() async throws {
        var limits = GitLimits()
        // While it receives, a client is silent.
        limits.idleSeconds = 1
        let fixture = try GitFixture(limits)
        try await fixture.client.create(app: app)
        let tip = try await fixture.push(["a": "1"], to: app)
        let exchange = try await fixture.client.session(app: app, service: .uploadPack, ticket: nil)
        let refs = try #require(try await exchange.read())
        #expect(String(decoding: refs, as: UTF8.self).contains("\(tip) HEAD"))
        try await Task.sleep(for: .milliseconds(1500))
        try await exchange.write(
            PacketWriter.line("want \(tip) side-band-64k ofs-delta\n") + PacketWriter.flush
                + PacketWriter.line("done\n"))
        #expect(try await GitFixture.readAll(exchange).contains("PACK"))
    }

    @Test func aPushOverAnOpenConnectionGoesOnBehindTheRefs() async throws {
        let fixture = try GitFixture()
        try await fixture.client.create(app: app)
        let work = try await fixture.commit(["a": "1"])
        let tip = try await fixture.git(["rev-parse", "HEAD"], in: work)
        let exchange = try await fixture.client.session(app: app, service: .receivePack, ticket: "a ticket")
        // Nobody says that the request is at its end: git knows it.
        try await exchange.write(
            GitFixture.request([PushCommand(ref: "refs/heads/x", old: PushCommand.zero, new: tip)])
                + fixture.pack(tip, in: work))
        #expect(try await GitFixture.readAll(exchange).contains("ok refs/heads/x"))
        #expect(fixture.paasd.state.withLock { $0.hellos.first?.ticket } == "a ticket")
    }

    @Test func aKeyIsAnsweredWithOneCommandAndNothingElse() {
        let line = SSHKeyLookup.line(
            program: "/opt/it's \"mine\"/paas-git", socket: "/run/x/ssh.sock", key: "k", type: "ssh-ed25519",
            base64: "AAAA")
        #expect(
            line
                == #"restrict,command="exec '/opt/it'\''s \"mine\"/paas-git' 'ssh-session' '/run/x/ssh.sock' 'k'" ssh-ed25519 AAAA"#
        )
    }

    /// Answers one connection in paasd's place.
    private func answer(_ body: @escaping @Sendable (FrameChannel) throws -> Void) throws -> String {
        let path = "/tmp/slipway-ssh-\(AppID.random())"
        let listener = try UnixSocket.listen(path, mode: 0o600).release()
        OS.Thread.start("fake-paasd") {
            let listener = OwnedFD(listener)
            defer { unlink(path) }
            do {
                let channel = FrameChannel(try UnixSocket.accept(listener), maximumBytes: 1 << 20)
                try body(channel)
                channel.shutdown()
            } catch {
                Issue.record("\(error)")
            }
        }
        return path
    }

    /// paas-git as sshd starts it.
    private func run(_ arguments: [String], command: String? = nil, input: String = "") async throws -> Command.Result {
        let program = Files.parent(try ProgramEnvironment.executablePath()) + "/paas-git"
        var spec = ProcessSpec(program, arguments)
        spec.environment["SSH_ORIGINAL_COMMAND"] = command
        let work = Command(spec, timeoutSeconds: 30)
        return try await GitFixture.blocking.run { () throws(SystemError) in try work.run(input: Array(input.utf8)) }
    }

    @Test func keysAreLookedUp() async throws {
        let id = KeyID.random()
        for (reply, expected) in [
            (SSHReply.known(id), "'\(id)'"), (.unknown, ""),
            (.failed(ErrorReport(code: .unavailable, message: "the database is away")), "'unavailable'"),
        ] {
            let calls = Mutex<[SSHCall]>([])
            let socket = try answer { channel in
                let call = try GitWire.decode(SSHCall.self, try channel.receive() ?? [])
                calls.withLock { $0.append(call) }
                try channel.send(try GitWire.encode(reply))
            }
            let result = try await run(["ssh-key", socket, "ssh-ed25519", "AAAA"])
            #expect(result.status == 0)
            #expect(calls.withLock { $0 } == [.key(type: "ssh-ed25519", base64: "AAAA")])
            if expected.isEmpty {
                #expect(result.output.isEmpty)
            } else {
                #expect(
                    result.text.hasPrefix("restrict,command=\"exec ") && result.text.contains(expected),
                    "\(result.text)")
            }
        }
        // Nobody there: the client is let in to be told so.
        let away = try await run(["ssh-key", "/tmp/slipway-nowhere.sock", "ssh-ed25519", "AAAA"])
        #expect(away.text.contains("'unavailable'"))
        let told = try await run(
            ["ssh-session", "/tmp/slipway-nowhere.sock", "unavailable"], command: "git-upload-pack 'a.git'")
        #expect(told.status == 1 && told.errorText.contains("try again") && told.output.isEmpty)
    }

    @Test func aSessionCarriesBytesBothWays() async throws {
        let id = KeyID.random()
        let heard = Mutex<(SSHCall?, String)>((nil, ""))
        let socket = try answer { channel in
            let call = try GitWire.decode(SSHCall.self, try channel.receive() ?? [])
            var text = ""
            while let frame = try channel.receive(), frame.first == SSHFrame.input {
                text += String(decoding: frame.dropFirst(), as: UTF8.self)
            }
            heard.withLock { [text] in $0 = (call, text) }
            try channel.send([SSHFrame.output] + Array("out".utf8))
            try channel.send([SSHFrame.message] + Array("words\n".utf8))
            try channel.send([SSHFrame.exit] + Array("7".utf8))
        }
        let result = try await run(
            ["ssh-session", socket, "\(id)"], command: "git-upload-pack 'a.git'; id", input: "hello")
        #expect(result.status == 7 && result.text == "out" && result.errorText == "words\n")
        // What was asked for is passed on as it is.
        #expect(heard.withLock { $0.0 } == .session(key: id, command: "git-upload-pack 'a.git'; id"))
        #expect(heard.withLock { $0.1 } == "hello")
        let cut = try answer { _ = try $0.receive() }
        let result2 = try await run(["ssh-session", cut, "\(id)"])
        #expect(result2.status == 1 && result2.errorText.contains("interrupted"))
    }
}
