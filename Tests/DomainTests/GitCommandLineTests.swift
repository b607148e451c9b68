import Domain
import Testing

@Suite struct GitCommandLineTests {
    @Test(arguments: [
        ("git-receive-pack 'app.git'", GitService.receivePack, "app"),
        ("git-upload-pack 'app.git'", .uploadPack, "app"),
        ("git receive-pack 'app.git'", .receivePack, "app"), ("git upload-pack app.git", .uploadPack, "app"),
        ("git-receive-pack '/app.git'", .receivePack, "app"),
        ("git-upload-pack /my-app-2.git", .uploadPack, "my-app-2"),
        ("git-receive-pack 'git.git'", .receivePack, "git"),
    ]) func whatGitAsksForIsUnderstood(text: String, service: GitService, app: String) throws {
        let command = try GitCommandLine(text)
        #expect(command.service == service && command.app == app)
    }

    @Test(arguments: [
        "", " ", "sh", "git", "git-receive-pack", "git-receive-pack ", "git-receive-pack  'a.git'",
        " git-receive-pack 'a.git'",
        "git-receive-pack 'a.git' ", "git-receive-pack 'a.git' x", "git-receive-pack\t'a.git'",
        "git-receive-pack 'a.git'\n",
        "git-receive-pack 'a'", "git-receive-pack '.git'", "git-receive-pack '../a.git'",
        "git-receive-pack 'a/../b.git'",
        "git-receive-pack '//a.git'", "git-receive-pack '/git/a.git'", "git-receive-pack 'a.git/'",
        "git-receive-pack \"a.git\"",
        "git-receive-pack ''a.git''", "git-receive-pack 'a'\\''.git'", "git-receive-pack 'a.git",
        "git-receive-pack a.git'",
        "git-receive-pack '-a.git'", "git-receive-pack 'A.git'", "git-receive-pack 'a.git;id'",
        "git-receive-pack $(id).git",
        "git-receive-pack 'é.git'", "git -c x=y receive-pack 'a.git'", "git upload-archive 'a.git'",
        "git-upload-archive 'a.git'",
        "Git-Receive-Pack 'a.git'", "git-receive-pack 'a.git'\0", "git-lfs-authenticate a.git upload", "scp -f x", "'",
        "''",
        "git-receive-pack '", "git-receive-pack ''", "git-receive-pack /",
        "git-receive-pack " + String(repeating: "a", count: 600),
    ]) func everythingElseIsRefused(text: String) {
        let error = #expect(throws: PaaSError.self) { try GitCommandLine(text) }
        #expect(error?.code == .forbidden || error?.code == .notFound)
    }

    /// Whatever is put together: either it is refused, or it is one of the forms above and names an app by our rules.
    @Test func randomCommandsNameNothingButApps() throws {
        let pieces = [
            "git-receive-pack", "git-upload-pack", "git", "receive-pack", "upload-pack", " ", "'", "\"", "/", ".git",
            "a", "b-1", "-", ".",
            "..", "\n", "\0", "$", "(", ")", "`", ";", "&", "|", "\\", "é", "A", "--x",
        ]
        var generator = SeededGenerator(state: 5)
        var understood = 0
        for round in 0..<40_000 {
            var text = (0..<Int.random(in: 1...8, using: &generator)).map { _ in
                pieces.randomElement(using: &generator) ?? ""
            }.joined()
            if round % 2 == 0 { text = "git-receive-pack " + text }
            guard let command = try? GitCommandLine(text) else { continue }
            understood += 1
            try Names.validate(command.app, "app")
            let verb = command.service == .receivePack ? "receive-pack" : "upload-pack"
            let forms = ["git-\(verb)", "git \(verb)"].flatMap { start in
                ["'\(command.app).git'", "\(command.app).git", "'/\(command.app).git'", "/\(command.app).git"].map {
                    "\(start) \($0)"
                }
            }
            #expect(forms.contains(text), "\(text.debugDescription)")
        }
        #expect(understood > 10)
    }
}
