import Domain
import FoundationEssentials
import Glibc
import OS
import Synchronization
import Testing

@testable import Git

/// A paas-git daemon on a socket of its own, with repositories in a temporary folder.
final class GitFixture: Sendable {
    /// Other tests wait for the threads that tests share: whatever blocks for long runs here.
    static let blocking = BlockingExecutor("git-fixture", width: 4)

    let root: String
    let client: GitClient
    let server: GitServer
    let settings: Settings

    let paasd: FakePaaSD

    convenience init() throws { try self.init(GitLimits()) }

    init(_ limits: GitLimits) throws {
        Signals.ignoreBrokenPipes()
        root = "/tmp/slipway-git-\(UUID().uuidString.prefix(8))"
        try Files.makeDirectories(root + "/data/repos")
        try Files.makeDirectories(root + "/run/git")
        try Files.makeDirectories(root + "/run/push")
        settings = try Settings(
            environment: [
                "PAAS_DATA_DIR": root + "/data", "PAAS_RUN_DIR": root + "/run", "PAAS_PREFIX": root + "/prefix",
            ],
            file: "")
        // The programs are built beside the tests.
        let program = Files.parent(try ProgramEnvironment.executablePath()) + "/paas-git"
        try Files.makeDirectories(settings.prefix + "/hooks")
        try Syscall.check("link the hook") { [settings] in symlink(program, settings.prefix + "/hooks/proc-receive") }
        paasd = try FakePaaSD(settings.pushSocket)
        server = GitServer(settings: settings, program: program, clientUser: getuid(), limits: limits) { _ in }
        OS.Thread.start("git-server") { [server] in try? server.run() }
        client = GitClient(socket: settings.gitSocket)
        let deadline = Monotonic.now() + 10
        while (try? UnixSocket.connect(settings.gitSocket)) == nil {
            guard Monotonic.now() < deadline else { throw SystemError("start paas-git", errno: ETIMEDOUT) }
            usleep(10_000)
        }
    }

    deinit { try? Files.removeTree(root) }

    func repository(_ app: AppID) -> String { "\(settings.repositoriesDirectory)/\(app).git" }

    /// Runs git as a user would, in a folder, and returns what it printed.
    @discardableResult
    func git(_ arguments: [String], in directory: String, expect status: Int32 = 0, input: [UInt8] = []) async throws
        -> String
    {
        let result = try await run(arguments, in: directory, input: input)
        #expect(result.status == status, "git \(arguments): \(result.errorText)")
        return String(result.text.trimmingWhitespace())
    }

    private func run(_ arguments: [String], in directory: String, input: [UInt8]) async throws -> Command.Result {
        var spec = ProcessSpec("/usr/bin/git", arguments)
        spec.environment["HOME"] = root
        spec.environment["GIT_CONFIG_NOSYSTEM"] = "1"
        for role in ["AUTHOR", "COMMITTER"] {
            spec.environment["GIT_\(role)_NAME"] = "Test"
            spec.environment["GIT_\(role)_EMAIL"] = "test@example.org"
        }
        spec.directory = directory
        let command = Command(spec, timeoutSeconds: 300, outputLimit: 1 << 28)
        return try await Self.blocking.run { () throws(SystemError) in try command.run(input: input) }
    }

    /// A work tree with these files in one commit, pushed as a branch into the app's repository. Returns the commit.
    func push(_ files: [String: String], links: [String: String] = [:], to app: AppID, branch: String = "main")
        async throws -> String
    {
        let work = try await commit(files, links: links)
        try await git(["push", "-q", repository(app), "+HEAD:refs/heads/\(branch)"], in: work)
        return try await git(["rev-parse", "HEAD"], in: work)
    }

    /// A work tree with these files in one commit.
    func commit(_ files: [String: String], links: [String: String] = [:]) async throws -> String {
        let work = "\(root)/work-\(UUID().uuidString.prefix(8))"
        try Files.makeDirectories(work)
        try await git(["init", "-q", "-b", "main", "."], in: work)
        for (path, text) in files {
            try Files.makeDirectories(Files.parent("\(work)/\(path)"))
            try Files.writeDurably("\(work)/\(path)", text.utf8, mode: 0o644)
        }
        for (path, target) in links { try Syscall.check("symlink") { symlink(target, "\(work)/\(path)") } }
        try await git(["add", "-A"], in: work)
        try await git(["commit", "-q", "--allow-empty", "-m", "a subject\n\nand a body"], in: work)
        return work
    }

    /// An object made of these bytes, whether git likes it or not. Returns its id.
    func object(_ type: String, _ bytes: [UInt8], in work: String) async throws -> String {
        try await git(["hash-object", "-t", type, "--literally", "-w", "--stdin"], in: work, input: bytes)
    }

    /// A commit of a tree that need not be one that git would make.
    func commit(tree: String, in work: String) async throws -> String {
        try await git(["commit-tree", "-m", "a tree", tree], in: work)
    }

    /// All that `tip` leads to, as a push brings it.
    func pack(_ tip: String, in work: String) async throws -> [UInt8] {
        let objects = try await git(["rev-list", "--objects", "--no-object-names", tip], in: work)
        let result = try await run(["pack-objects", "--stdout", "-q"], in: work, input: Array((objects + "\n").utf8))
        #expect(result.status == 0, "\(result.errorText)")
        return result.output
    }

    /// A commit of one file of random bytes.
    func large(_ bytes: Int, in work: String) async throws -> String {
        let content = try await Self.blocking.run { () throws(SystemError) in
            try OwnedFD.open("/dev/urandom", O_RDONLY).readFully(bytes)
        }
        let blob = try await git(["hash-object", "-w", "--stdin"], in: work, input: content)
        let tree = try await git(["mktree"], in: work, input: Array("100644 blob \(blob)\tlarge\n".utf8))
        return try await commit(tree: tree, in: work)
    }

    /// The commands of a push, as git's client sends them before the pack.
    static func request(_ commands: [PushCommand], options: [String] = [], shallow: [String] = []) -> [UInt8] {
        var bytes = shallow.flatMap { PacketWriter.line("shallow \($0)\n") }
        for (index, command) in commands.enumerated() {
            let capabilities =
                index == 0 ? "\0report-status side-band-64k object-format=sha1 push-options" : ""
            bytes += PacketWriter.line("\(command.old) \(command.new) \(command.ref)\(capabilities)")
        }
        bytes += PacketWriter.flush
        return bytes + options.flatMap { PacketWriter.line($0) } + PacketWriter.flush
    }

    /// Pushes through the daemon as git's client does, and returns what it would show and read.
    func serve(_ app: AppID, _ request: [UInt8]) async throws -> String {
        let exchange = try await client.serve(
            app: app, service: .receivePack, protocolVersion: nil, ticket: "a ticket")
        async let reply = Self.readAll(exchange)
        do { try await exchange.write(request) } catch {
            // It may have been refused before all was sent; the reply says why.
        }
        try await exchange.finishWriting()
        return try await reply
    }

    /// The whole reply, without the framing of the sideband.
    static func readAll(_ exchange: any GitExchange) async throws -> String {
        var bytes: [UInt8] = [], text: [UInt8] = []
        while let part = try await exchange.read() { bytes += part }
        await exchange.close()
        var rest = bytes[...]
        while let length = Int(String(decoding: rest.prefix(4), as: UTF8.self), radix: 16) {
            text += rest.prefix(max(length, 4)).dropFirst(5)
            rest = rest.dropFirst(max(length, 4))
        }
        return String(decoding: text, as: UTF8.self)
    }
}

/// Takes the hook's pushes in paasd's place.
final class FakePaaSD: Sendable {
    struct State {
        var hellos: [PushHello] = []
        var decide: @Sendable (PushCommand) -> RefDecision = { _ in .update }
        /// Nobody is answered meanwhile.
        var holds = false
    }
    let state = Mutex(State())

    init(_ socket: String) throws {
        let listener = try UnixSocket.listen(socket, mode: 0o600).release()
        OS.Thread.start("fake-paasd") {
            let listener = OwnedFD(listener)
            while true {
                do {
                    let accepted = try UnixSocket.accept(listener).release()
                    OS.Thread.start("fake-push") { self.serve(OwnedFD(accepted)) }
                } catch {
                    Issue.record("\(error)")
                    return
                }
            }
        }
    }

    private func serve(_ socket: consuming OwnedFD) {
        do {
            var line: [UInt8] = []
            while line.last != 10 {
                let part = try socket.read(upTo: 65_536)
                if part.isEmpty { return }
                line += part
            }
            let hello = try JSONDecoder().decode(PushHello.self, from: Data(line))
            state.withLock { $0.hellos.append(hello) }
            while state.withLock({ $0.holds }) { usleep(10_000) }
            let decide = state.withLock { $0.decide }
            let results = Dictionary(uniqueKeysWithValues: hello.commands.map { ($0.ref, decide($0)) })
            try socket.writeAll(Array(JSONEncoder().encode(PushReply(results: results))) + [10])
        } catch {
            Issue.record("\(error)")
        }
    }
}

/// Waits for a condition, at most 30 seconds.
func eventually(_ what: String, _ condition: () throws -> Bool) async throws {
    let deadline = Monotonic.now() + 30
    while try !condition() {
        guard Monotonic.now() < deadline else { throw SystemError(what, errno: ETIMEDOUT) }
        try await Task.sleep(for: .milliseconds(10))
    }
}
