import Domain
import Glibc
import OS

/// A repository's list of commits whose parents it does not have (`shallow`, gitrepository-layout(5)), changed under git's own
/// lock file.
struct ShallowFile {
    private let path: String
    private let staleSeconds: Double

    /// - Parameter staleSeconds: a lock that stays the same for so long is left by a process that was killed: live ones last
    ///   milliseconds.
    init(repository: String, staleSeconds: Double = 5) {
        path = repository + "/shallow"
        self.staleSeconds = staleSeconds
    }

    func read() throws(SystemError) -> [String] {
        let bytes = try Files.read(path, limit: 16 << 20) ?? []
        return String(decoding: bytes, as: UTF8.self).split(separator: "\n").map(String.init).filter(
            GitRules.isObjectID)
    }

    func add(_ commits: [String]) throws(SystemError) {
        try change { $0.union(commits) }
    }

    func remove(_ commits: [String]) throws(SystemError) {
        try change { $0.subtracting(commits) }
    }

    private func change(_ edit: (Set<String>) -> Set<String>) throws(SystemError) {
        let lock = path + ".lock"
        let file = try acquire(lock)
        do throws(SystemError) {
            let wanted = edit(Set(try read())).sorted()
            if wanted.isEmpty {
                try Files.remove(path)
                try Files.remove(lock)
            } else {
                try file.writeAll(wanted.map { $0 + "\n" }.joined().utf8)
                try file.sync()
                try Files.rename(lock, path)
            }
        } catch {
            unlink(lock)
            throw error
        }
        try Files.syncFolder(of: path)
    }

    private func acquire(_ lock: String) throws(SystemError) -> OwnedFD {
        var seen: (inode: ino_t, seconds: Int, nanoseconds: Int)?
        var since = Monotonic.now()
        while true {
            do throws(SystemError) {
                return try OwnedFD.open(lock, O_WRONLY | O_CREAT | O_EXCL, mode: 0o600)
            } catch {
                guard error.errno == EEXIST else { throw error }
            }
            var info = stat()
            guard lstat(lock, &info) == 0 else { continue }
            let found = (inode: info.st_ino, seconds: info.st_mtim.tv_sec, nanoseconds: info.st_mtim.tv_nsec)
            if let seen, seen == found {
                if Monotonic.now() > since + staleSeconds { try Files.remove(lock) }
            } else {
                seen = found
                since = Monotonic.now()
            }
            usleep(20_000)
        }
    }
}
