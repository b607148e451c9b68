import Domain
import Glibc
import OS

/// Keeps builds and slugs from taking the disk from the database: whatever grows is promised its room before it begins.
final class HostDisk: Sendable {
    /// What builds and slugs leave free.
    static let reserveBytes: Int64 = 512 << 20

    private let volumesDirectory: String
    /// Files that are being written, with the size that they may reach.
    private let growing = Monitor<[String: Int64]>([:])

    /// - Parameter volumesDirectory: where the sparse images of build volumes are.
    init(volumesDirectory: String) { self.volumesDirectory = volumesDirectory }

    /// Runs `body` while `bytes` are set aside for the file at `path`, which it writes.
    /// - Parameter ignoring: a volume that does not grow any more.
    /// - Throws: `exhausted` if there is no room: not `unavailable`, for a caller that comes again at once would find the same
    ///   and tell its user only after minutes.
    func withRoom<T>(
        for bytes: Int64, at path: String, ignoring finished: String? = nil, _ body: () throws(PaaSError) -> T
    ) throws(PaaSError) -> T {
        try growing.withLock { (growing) throws(PaaSError) in
            try requireRoom(for: bytes, beside: growing, ignoring: finished)
            growing[path] = bytes
        }
        defer { growing.withLock { _ = $0.removeValue(forKey: path) } }
        return try body()
    }

    /// Images are sparse: what running builds have not written yet is promised to them all the same.
    private func requireRoom(for bytes: Int64, beside growing: [String: Int64], ignoring finished: String?)
        throws(PaaSError)
    {
        var promised: [String: Int64] = growing
        try ImageFailure.wrap("can't list build volumes") { () throws(SystemError) in
            for name in try Files.list(volumesDirectory) {
                let path = "\(volumesDirectory)/\(name)"
                var info = stat()
                if path == finished || promised[path] != nil || lstat(path, &info) != 0 { continue }
                promised[path] = Int64(info.st_size)
            }
        }
        var space = statvfs()
        guard statvfs(volumesDirectory, &space) == 0 else {
            throw SystemError.last("statvfs").asPaaSError("can't look at the host's disk")
        }
        let free = Int64(clamping: UInt64(space.f_bavail) * UInt64(space.f_frsize))
        let needed = promised.reduce(bytes + Self.reserveBytes) { sum, file in
            var info = stat()
            let written = lstat(file.key, &info) == 0 ? Int64(info.st_blocks) * 512 : 0
            return sum + max(0, file.value - written)
        }
        guard free >= needed else {
            throw PaaSError(
                .exhausted,
                "the host's disk has \(free >> 20) MiB free, and builds may need \(needed >> 20) MiB of it; free space, "
                    + "lower PAAS_BUILD_DISK_BYTES, or wait for other builds and push again",
                source: .platform)
        }
    }
}
