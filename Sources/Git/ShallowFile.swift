import Domain
import Glibc
import OS

/// A repository's list of commits whose parents it does not have (`shallow`, gitrepository-layout(5)), changed under git's own
/// lock file.
struct ShallowFile {
    private let path: String

    init(repository: String) { path = repository + "/shallow" }

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
        let deadline = Monotonic.now() + 5
        while true {
            do throws(SystemError) {
                let file = try OwnedFD.open(lock, O_WRONLY | O_CREAT | O_EXCL, mode: 0o600)
                let wanted = edit(Set(try read())).sorted()
                if wanted.isEmpty {
                    try Files.remove(path)
                    try Files.remove(lock)
                } else {
                    try file.writeAll(wanted.map { $0 + "\n" }.joined().utf8)
                    try file.sync()
                    try Files.rename(lock, path)
                }
                return try Files.syncFolder(of: path)
            } catch {
                // A lock that nobody holds is left by a process that was killed; git's own locks last milliseconds.
                guard error.errno == EEXIST else { throw error }
                if Monotonic.now() > deadline { try Files.remove(lock) }
                usleep(20_000)
            }
        }
    }
}
