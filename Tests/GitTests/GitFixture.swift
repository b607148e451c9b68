import Domain
import FoundationEssentials
import Glibc
import OS
import Testing

@testable import Git

/// A paas-git daemon on a socket of its own, with repositories in a temporary folder.
final class GitFixture: Sendable {
    let root: String
    let client: GitClient
    let settings: Settings

    init() throws {
        Signals.ignoreBrokenPipes()
        root = "/tmp/slipway-git-\(UUID().uuidString.prefix(8))"
        try Files.makeDirectories(root + "/data/repos")
        try Files.makeDirectories(root + "/run/git")
        settings = try Settings(
            environment: [
                "PAAS_DATA_DIR": root + "/data", "PAAS_RUN_DIR": root + "/run", "PAAS_PREFIX": root + "/prefix",
            ],
            file: "")
        // The programs are built beside the tests.
        let program = Files.parent(try ProgramEnvironment.executablePath()) + "/paas-git"
        let server = GitServer(settings: settings, program: program, clientUser: getuid()) { _ in }
        OS.Thread.start("git-server") { try? server.run() }
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
    func git(_ arguments: [String], in directory: String, expect status: Int32 = 0) throws -> String {
        var spec = ProcessSpec("/usr/bin/git", arguments)
        spec.environment["HOME"] = root
        spec.environment["GIT_CONFIG_NOSYSTEM"] = "1"
        for role in ["AUTHOR", "COMMITTER"] {
            spec.environment["GIT_\(role)_NAME"] = "Test"
            spec.environment["GIT_\(role)_EMAIL"] = "test@example.org"
        }
        spec.directory = directory
        let result = try Command(spec).run()
        #expect(result.status == status, "git \(arguments): \(result.errorText)")
        return String(result.text.trimmingWhitespace())
    }

    /// A work tree with these files in one commit, pushed as a branch into the app's repository. Returns the commit.
    func push(_ files: [String: String], links: [String: String] = [:], to app: AppID, branch: String = "main") throws
        -> String
    {
        let work = "\(root)/work-\(UUID().uuidString.prefix(8))"
        try Files.makeDirectories(work)
        try git(["init", "-q", "-b", "main", "."], in: work)
        for (path, text) in files {
            try Files.makeDirectories(Files.parent("\(work)/\(path)"))
            try Files.writeDurably("\(work)/\(path)", text.utf8, mode: 0o644)
        }
        for (path, target) in links { try Syscall.check("symlink") { symlink(target, "\(work)/\(path)") } }
        try git(["add", "-A"], in: work)
        try git(["commit", "-q", "--allow-empty", "-m", "a subject\n\nand a body"], in: work)
        try git(["push", "-q", repository(app), "+HEAD:refs/heads/\(branch)"], in: work)
        return try git(["rev-parse", "HEAD"], in: work)
    }
}
