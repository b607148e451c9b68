import Domain
import Glibc
import OS
import Synchronization
import Testing

@testable import Git

/// Trees that git's own client would never make.
@Suite struct TreeTrickTests {
    enum Content: Sendable {
        case file(String)
        case link(String)
        case folder([Entry])
    }
    struct Entry: Sendable, CustomTestStringConvertible {
        var name: String
        var content: Content
        init(_ name: String, _ content: Content) {
            self.name = name
            self.content = content
        }
        var testDescription: String { "\(name) \(content)" }
    }

    let fixture: GitFixture
    let app = AppID.random()

    init() throws { fixture = try GitFixture() }

    func tree(_ entries: [Entry], in work: String) async throws -> String {
        var bytes: [UInt8] = []
        for entry in entries {
            let (mode, id) =
                switch entry.content {
                case .file(let text): ("100644", try await fixture.object("blob", Array(text.utf8), in: work))
                case .link(let target): ("120000", try await fixture.object("blob", Array(target.utf8), in: work))
                case .folder(let inside): ("40000", try await tree(inside, in: work))
                }
            bytes += Array("\(mode) \(entry.name)\0".utf8)
            for index in stride(from: 0, to: 40, by: 2) {
                bytes.append(UInt8(id.dropFirst(index).prefix(2), radix: 16) ?? 0)
            }
        }
        return try await fixture.object("tree", bytes, in: work)
    }

    static let evil = Content.file("evil")
    static let refused: [[Entry]] = [
        [Entry("..", .folder([Entry("escaped", evil)]))],
        [Entry(".", .folder([Entry("escaped", evil)]))],
        [Entry(".git", .folder([Entry("config", evil)]))],
        [Entry(".GIT", .folder([Entry("config", evil)]))],
        [Entry("git~1", .folder([Entry("config", evil)]))],
        [Entry("sub", .folder([Entry(".git", .folder([Entry("hooks", evil)]))]))],
        [Entry("../escaped", evil)],
        [Entry("/tmp/escaped", evil)],
        [Entry("a/../../escaped", evil)],
        // A link, and then a folder of the same name: a path through the link.
        [Entry("out", .link("..")), Entry("out", .folder([Entry("escaped", evil)]))],
        [Entry(".gitmodules", .link("/etc/passwd"))],
    ]

    @Test(arguments: refused) func treesThatLeadOutAreRefused(_ entries: [Entry]) async throws {
        try await fixture.client.create(app: app)
        let work = try await fixture.commit(["a": "1"])
        let tip = try await fixture.commit(tree: tree(entries, in: work), in: work)
        let pack = try await fixture.pack(tip, in: work)
        let reply = try await fixture.serve(
            app, GitFixture.request([PushCommand(ref: "refs/heads/x", old: PushCommand.zero, new: tip)]) + pack)
        #expect(reply.contains("ng refs/heads/x unpacker error"), "\(reply)")
        #expect(fixture.paasd.state.withLock { $0.hellos.isEmpty })
        #expect(try await fixture.client.readRef(app: app, ref: "refs/heads/x") == nil)
        // And if one came in by another way, nothing of it would be written outside.
        try await fixture.git(["index-pack", "--stdin"], in: fixture.repository(app), input: pack)
        try await checkHarmless(tip)
    }

    @Test func linksThatLeadOutAreMadeAndNotFollowed() async throws {
        try await fixture.client.create(app: app)
        let work = try await fixture.commit(["a": "1"])
        let tip = try await fixture.commit(
            tree: tree(
                [
                    Entry("chain1", .link("chain2")), Entry("chain2", .link("chain3")), Entry("chain3", .link("..")),
                    Entry("loop", .link("loop")), Entry("passwd", .link("/etc/passwd")),
                    Entry("up", .link("../../../../etc")),
                ], in: work), in: work)
        let reply = try await fixture.serve(
            app,
            GitFixture.request([PushCommand(ref: "refs/heads/x", old: PushCommand.zero, new: tip)])
                + fixture.pack(tip, in: work))
        #expect(reply.contains("ok refs/heads/x"), "\(reply)")
        let target = try await checkHarmless(tip)
        for name in ["chain1", "chain2", "chain3", "loop", "passwd", "up"] {
            var info = stat()
            #expect(lstat("\(target)/\(name)", &info) == 0)
            #expect(info.st_mode & S_IFMT == S_IFLNK)
        }
    }

    /// Whether the checkout is refused or not, the folder beside its target stays as it was.
    @discardableResult
    func checkHarmless(_ tip: String) async throws -> String {
        let around = fixture.root + "/around", target = around + "/target"
        try Files.makeDirectories(target)
        try Files.writeDurably(around + "/escaped", "good".utf8)
        do throws(PaaSError) {
            try await fixture.client.checkout(app: app, commit: tip, into: target, limitBytes: 1 << 20, keeping: nil)
        } catch {
            #expect(error.code != .unavailable, "\(error)")
        }
        #expect(try Files.list(around) == ["escaped", "target"])
        #expect(try Files.readText(around + "/escaped") == "good")
        #expect(!Files.exists("/tmp/escaped") && !Files.exists(target + "/.git") && !Files.exists(target + "/.GIT"))
        return target
    }
}
