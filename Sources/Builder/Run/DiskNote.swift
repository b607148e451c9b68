import Domain
import Glibc

/// What a pusher is told when the host's disk gets full: before a build is refused for want of room.
enum DiskNote {
    /// Beyond what one more build may take.
    static let reserveBytes: Int64 = 1 << 30

    /// Nil while there is room, or where nobody can tell.
    static func line(_ settings: Settings) -> String? {
        var space = statvfs()
        guard statvfs(settings.dataDirectory, &space) == 0 else { return nil }
        let free = Int64(clamping: UInt64(space.f_bavail) * UInt64(space.f_frsize))
        return line(freeBytes: free, settings)
    }

    static func line(freeBytes: Int64, _ settings: Settings) -> String? {
        guard freeBytes < settings.buildDiskBytes + reserveBytes else { return nil }
        return
            " !     The platform's disk has only \(BuildWords.size(freeBytes)) left, and builds may soon be refused: tell its operator."
    }
}
