/// What git's client asks for over SSH, as in `git-receive-pack 'app.git'`: nothing else is understood, and nothing of it ever
/// reaches a shell.
public struct GitCommandLine: Sendable, Hashable {
    public var service: GitService
    public var app: String

    static let maximumBytes = 512

    /// - Throws: `forbidden` for another command, `notFound` for what can't be an app's repository.
    public init(_ text: String) throws(PaaSError) {
        guard text.utf8.count <= Self.maximumBytes else {
            throw PaaSError(.forbidden, "this command is too long; only git push, fetch and clone are served here")
        }
        let words = text.split(separator: " ", omittingEmptySubsequences: false)
        let path: Substring
        switch (words.first, words.count) {
        case ("git-receive-pack", 2):
            service = .receivePack
            path = words[1]
        case ("git-upload-pack", 2):
            service = .uploadPack
            path = words[1]
        case ("git", 3) where words[1] == "receive-pack":
            service = .receivePack
            path = words[2]
        case ("git", 3) where words[1] == "upload-pack":
            service = .uploadPack
            path = words[2]
        case ("git-lfs-authenticate", _), ("git-lfs-transfer", _):
            throw PaaSError(.forbidden, Self.largeFileStorage)
        default:
            throw PaaSError(
                .forbidden, "\(Names.quoted(text)) is not served here; only git push, fetch and clone are")
        }
        app = try Self.app(path)
    }

    /// What git-lfs shows its user.
    public static let largeFileStorage = "LFS is not supported; git push --no-verify, or git lfs migrate export"

    /// `'app.git'`, `app.git`, each with or without a slash in front.
    private static func app(_ path: Substring) throws(PaaSError) -> String {
        var name = path
        if name.count >= 2, name.first == "'", name.last == "'" { name = name.dropFirst().dropLast() }
        let shown = Names.quoted(name)
        if name.first == "/" { name = name.dropFirst() }
        let app = String(name.dropLast(4))
        do throws(PaaSError) {
            guard name.hasSuffix(".git") else { throw PaaSError(.notFound, "") }
            try Names.validate(app, "app")
        } catch {
            throw PaaSError(
                .notFound,
                "there is no repository \(shown); the repository of an app is APP.git: paasctl apps lists them")
        }
        return app
    }
}
