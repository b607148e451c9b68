import Glibc
import OS

/// What git's programs leave in repositories when they are killed at work: quarantined objects of a push that nobody will
/// take in any more, repositories that were never finished, and lock files that would block every later change of a ref.
struct InterruptedWork {
    let repositories: String
    /// Told what can't be removed. That one repository may then refuse changes; the others must not wait for it.
    let log: @Sendable (String) -> Void

    /// How deep names of refs are followed.
    private static let deepest = 32

    /// To be called while no program works on the repositories: they all end together with the daemon that started them.
    func clear() throws(SystemError) {
        for name in try Files.list(repositories) {
            do throws(SystemError) {
                if name.hasSuffix(".git") {
                    try clear(repository: "\(repositories)/\(name)")
                } else if name.contains(".git" + Repository.unfinished) {
                    try Files.removeTree("\(repositories)/\(name)")
                }
            } catch {
                log("\(name) can't be cleared of interrupted work: \(error)")
            }
        }
    }

    private func clear(repository: String) throws(SystemError) {
        for name in try Files.list(repository + "/objects")
        where name.hasPrefix("tmp_objdir-") || name.hasPrefix("incoming-") {
            try Files.removeTree("\(repository)/objects/\(name)")
        }
        for name in try Files.list(repository) where name.hasSuffix(".lock") {
            try Files.remove("\(repository)/\(name)")
        }
        try Self.clearPacking(repository)
        try clearLocks(repository + "/refs", depth: 0)
    }

    /// What `git gc` leaves when it is ended: its own lock, and packs that were never finished.
    static func clearPacking(_ repository: String) throws(SystemError) {
        for name in ["gc.pid", "gc.pid.lock", "gc.log", "gc.log.lock"] where Files.exists("\(repository)/\(name)") {
            try Files.remove("\(repository)/\(name)")
        }
        let folder = repository + "/objects/pack"
        guard Files.exists(folder) else { return }
        for name in try Files.list(folder) where name.hasPrefix("tmp_") || name.hasPrefix(".tmp-") {
            try Files.remove("\(folder)/\(name)")
        }
    }

    /// No ref's name ends in `.lock`: git allows none.
    private func clearLocks(_ folder: String, depth: Int) throws(SystemError) {
        guard depth < Self.deepest else { return }
        for name in try Files.list(folder) {
            let path = "\(folder)/\(name)"
            var info = stat()
            // What is gone meanwhile needs no clearing.
            guard lstat(path, &info) == 0 else { continue }
            if info.st_mode & S_IFMT == S_IFDIR {
                try clearLocks(path, depth: depth + 1)
            } else if name.hasSuffix(".lock") {
                try Files.remove(path)
            }
        }
    }
}
