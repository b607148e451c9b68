import Glibc
import OS

/// A folder that goes with the test.
final class Scratch {
    let path: String

    init() throws {
        let base = ProgramEnvironment.variables()["TMPDIR"] ?? "/tmp"
        var template = Array("\(base)/lifecycle-test.XXXXXX\0".utf8).map { CChar(bitPattern: $0) }
        guard mkdtemp(&template) != nil else { throw SystemError.last("mkdtemp") }
        path = Files.canonical(String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self))
    }

    deinit { try? Files.removeTree(path) }

    /// git without anybody's settings.
    @discardableResult
    func git(_ arguments: [String]) throws -> Command.Result {
        try run(
            "/usr/bin/git", ["-c", "init.defaultBranch=main", "-c", "user.name=t", "-c", "user.email=t@t"] + arguments)
    }

    @discardableResult
    func run(_ program: String, _ arguments: [String], _ extra: [String: String] = [:]) throws -> Command.Result {
        var spec = ProcessSpec(program, arguments)
        spec.environment = [
            "PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": path, "LC_ALL": "C.UTF-8", "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_AUTHOR_DATE": "2026-01-01T00:00:00Z", "GIT_COMMITTER_DATE": "2026-01-01T00:00:00Z",
        ].merging(extra) { $1 }
        spec.directory = path
        return try Command(spec, timeoutSeconds: 60).run()
    }

    func write(_ name: String, _ text: String, mode: mode_t = 0o644) throws {
        try Files.makeDirectories(Files.parent("\(path)/\(name)"))
        try Files.writeDurably("\(path)/\(name)", text.utf8, mode: mode)
    }

    func text(_ name: String) throws -> String {
        String(decoding: try Files.read("\(path)/\(name)") ?? [], as: UTF8.self)
    }

    func has(_ name: String) -> Bool { Files.exists("\(path)/\(name)") }
}
