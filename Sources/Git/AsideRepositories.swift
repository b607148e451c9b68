import Domain
import Glibc
import OS

/// Repositories that no app is known for any more. They are kept for a while, out of the list, as `<id>.aside-<seconds>`: a
/// database that was restored from a backup may simply not know their apps yet, and giving one back is a rename.
struct AsideRepositories {
    static let keptSeconds = 30 * 86_400

    let repositories: String

    /// Fine for one that is not there. Removes those that were kept long enough.
    func take(_ app: AppID, now: Int = time(nil)) throws(SystemError) {
        let path = GitWorker.path(app, in: repositories)
        if Files.exists(path) {
            try Files.rename(path, "\(repositories)/\(app).aside-\(now)")
            try Files.syncFolder(of: path)
        }
        for name in try Files.list(repositories) {
            let parts = name.split(separator: ".")
            guard parts.count == 2, parts[1].hasPrefix("aside-"), let since = Int(parts[1].dropFirst(6)) else {
                continue
            }
            if now - since > Self.keptSeconds { try Files.removeTree("\(repositories)/\(name)") }
        }
    }
}
