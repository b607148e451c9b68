import Glibc

/// What `lstat` says about a path. A link is a link, never what it leads to.
struct FileFacts: Sendable, Hashable {
    var mode: mode_t
    var size: Int64
    var device: UInt64
    var inode: UInt64
    var links: Int
    /// Seconds and nanoseconds of the last change of its content.
    var modified: [Int]

    /// Nil if there is nothing, or nothing that can be seen.
    init?(_ path: String) {
        var info = stat()
        guard lstat(path, &info) == 0 else { return nil }
        self.init(info)
    }

    /// Of what a link leads to.
    init?(following path: String) {
        var info = stat()
        guard stat(path, &info) == 0 else { return nil }
        self.init(info)
    }

    init(_ info: stat) {
        mode = info.st_mode
        size = Int64(info.st_size)
        device = UInt64(info.st_dev)
        inode = UInt64(info.st_ino)
        links = Int(info.st_nlink)
        modified = [info.st_mtim.tv_sec, info.st_mtim.tv_nsec]
    }

    var isFolder: Bool { mode & S_IFMT == S_IFDIR }
    var isFile: Bool { mode & S_IFMT == S_IFREG }
    var isLink: Bool { mode & S_IFMT == S_IFLNK }
    var isExecutable: Bool { mode & 0o111 != 0 }
}
