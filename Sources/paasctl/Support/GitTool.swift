import ArgumentParser
import Domain
import Glibc

/// Runs `git` with an argument array, without a shell.
enum GitTool {
    struct Output {
        var status: Int32
        var text: String
    }

    /// Standard output and exit status; standard error is dropped.
    /// - Throws: `Failure` if git can't be started.
    static func run(_ arguments: [String]) throws(Failure) -> Output {
        var ends: [Int32] = [0, 0]
        guard pipe(&ends) == 0 else { throw Failure("git can't be run: \(StandardInput.errorText(errno))") }
        for end in ends { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
        defer { close(ends[0]) }
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0)
        posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO)
        posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0)

        // SIGPIPE is ignored here and would stay so in git.
        var attributes = posix_spawnattr_t()
        posix_spawnattr_init(&attributes)
        defer { posix_spawnattr_destroy(&attributes) }
        var defaults = sigset_t()
        sigemptyset(&defaults)
        sigaddset(&defaults, SIGPIPE)
        posix_spawnattr_setsigdefault(&attributes, &defaults)
        posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETSIGDEF))

        var words: [UnsafeMutablePointer<CChar>?] = (["git"] + arguments).map { strdup($0) }
        words.append(nil)
        defer { for word in words { free(word) } }
        var pid: pid_t = 0
        let code = posix_spawnp(&pid, "git", &actions, &attributes, words, environ)
        close(ends[1])
        guard code == 0 else { throw Failure("git can't be run: \(StandardInput.errorText(code)); is it installed?") }
        let bytes = try StandardInput.readAll(ends[0], name: "git's output", limit: 1 << 20)
        var status: Int32 = 0
        while waitpid(pid, &status, 0) < 0, errno == EINTR {}
        let exited = status & 0x7f == 0
        return Output(
            status: exited ? (status >> 8) & 0xff : 128 + (status & 0x7f),
            text: String(String(decoding: bytes, as: UTF8.self).trimmingWhitespace()))
    }

    static func isInWorkTree() throws(Failure) -> Bool { try run(["rev-parse", "--git-dir"]).status == 0 }

    /// URL of a remote, nil if there is none.
    static func remoteURL(_ name: String) throws(Failure) -> String? {
        let output = try run(["config", "--get", "remote.\(name).url"])
        return output.status == 0 && !output.text.isEmpty ? output.text : nil
    }

    /// The app that the remote `paas` leads to.
    static func appOfRemote() throws -> String {
        let url: String?
        do { url = try remoteURL("paas") } catch { url = nil }
        guard let url else {
            throw ValidationError(
                "which app? Give -a APP, or run this in a checkout with a git remote 'paas' (paasctl git remote APP)")
        }
        guard let name = appName(url: url) else {
            throw Failure("the git remote 'paas' (\(url)) leads to no app; give -a APP, or: paasctl git remote APP")
        }
        return name
    }

    /// `…/git/NAME.git` and `…:NAME.git`
    static func appName(url: String) -> String? {
        let last = url.split(whereSeparator: { $0 == "/" || $0 == ":" }).last.map(String.init) ?? ""
        guard last.hasSuffix(".git") else { return nil }
        let name = String(last.dropLast(4))
        do { try Names.validate(name, "app") } catch { return nil }
        return name
    }

    /// Points the remote `paas` to the app, makes this program the credential helper of the API's URL and has git trust the
    /// certificates that we trust there. Other helpers are cleared for that URL, so that none of them keeps the token.
    /// - Parameter ssh: `ssh://USER@HOST:PORT` if the remote is to lead there; no helper is needed then.
    static func connect(app: String, session: Session, ssh: String? = nil, replace: Bool) throws(Failure) {
        let api = session.api
        let url = ssh.map { "\($0)/\(app).git" } ?? "\(api)/git/\(app).git"
        if let present = try remoteURL("paas") {
            if present != url {
                guard replace else {
                    Console.note(
                        "The git remote 'paas' leads to \(present) and was left alone; to change it: paasctl git remote \(app)"
                    )
                    return
                }
                try must(["remote", "set-url", "paas", url])
            }
        } else {
            try must(["remote", "add", "paas", url])
        }
        guard ssh == nil else {
            return Console.note(
                "git remote 'paas' leads to \(url); deploy with: git push paas main (your key: paasctl keys add FILE.pub)"
            )
        }
        let key = "credential.\(api).helper"
        try must(["config", "--local", "--replace-all", key, ""])
        try must(["config", "--local", "--add", key, "!\(helperCommand()) git-credential"])
        if let certificates = session.certificates {
            try must(["config", "--local", "http.\(api).sslCAInfo", certificates])
        }
        Console.note("git remote 'paas' leads to \(url); deploy with: git push paas main")
    }

    private static func must(_ arguments: [String]) throws(Failure) {
        guard try run(arguments).status == 0 else {
            throw Failure("git \(arguments.joined(separator: " ")) failed; run it by hand to see why")
        }
    }

    /// `paasctl` where it is found by name, else this program's own path, quoted for the shell that git uses for helpers.
    private static func helperCommand() -> String {
        for directory in (Session.processEnvironment()["PATH"] ?? "").split(separator: ":")
        where access("\(directory)/paasctl", X_OK) == 0 {
            return "paasctl"
        }
        var buffer = [UInt8](repeating: 0, count: 4096)
        let count = buffer.withUnsafeMutableBytes { bytes in
            bytes.baseAddress.map {
                readlink("/proc/self/exe", $0.assumingMemoryBound(to: CChar.self), bytes.count)
            } ?? -1
        }
        guard count > 0, count < buffer.count else { return "paasctl" }
        let path = String(decoding: buffer.prefix(count), as: UTF8.self)
        var quoted = "'"
        for character in path { quoted += character == "'" ? "'\\''" : String(character) }
        return quoted + "'"
    }
}
