import Domain
import Glibc
import OS

/// An exclusive `flock` on a file, given back by the kernel when the process ends, however it ends.
final class DirectoryLock: Sendable {
    private let file: OwnedFD

    /// - Throws: `conflict` when another process holds it.
    init(path: String) throws {
        file = try OwnedFD.open(path, O_RDWR | O_CREAT, mode: 0o600)
        if flock(file.raw, LOCK_EX | LOCK_NB) != 0 {
            let error = SystemError.last("flock \(path)")
            guard error.errno == EWOULDBLOCK else { throw error }
            throw PaaSError(.conflict, "another paasd uses this data directory (\(path) is locked)")
        }
    }
}
