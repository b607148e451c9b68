import Glibc
import OS

/// Goes through a tree by descriptors, so that no link can lead out of it. Names are bytes, as they are on the disk.
enum FolderWalk {
    enum Kind: Sendable { case file, folder, link, other }
    enum Step: Sendable { case descend, skip }

    struct Entry {
        /// Names from the root on.
        let path: [[UInt8]]
        let kind: Kind
        let info: stat
        fileprivate let folder: Int32
        fileprivate let name: [CChar]

        /// The path in a form to print.
        var text: String { path.map { String(decoding: $0, as: UTF8.self) }.joined(separator: "/") }

        /// The entry and all below it.
        func remove() throws(SystemError) { try FolderWalk.remove(name, in: folder, isFolder: kind == .folder) }

        /// A regular file, for reading.
        func open() throws(SystemError) -> OwnedFD {
            OwnedFD(
                try Syscall.check("open \(text)") {
                    openat(folder, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC)
                })
        }

        /// Fine for files and folders; links have no mode of their own.
        func setMode(_ mode: mode_t) throws(SystemError) {
            if kind == .file || kind == .folder {
                try Syscall.check("chmod \(text)") { fchmodat(folder, name, mode, 0) }
            }
        }
    }

    /// Calls `body` for each entry below `root`, a folder before what is in it.
    /// - Parameter skipsUnreadable: go past folders that this user may not look into.
    static func visit(
        _ root: String, skipsUnreadable: Bool = false, _ body: (Entry) throws(SystemError) -> Step
    ) throws(SystemError) {
        try visit(try OwnedFD.open(root, O_RDONLY | O_DIRECTORY | O_NOFOLLOW), [], skipsUnreadable, body)
    }

    private static func visit(
        _ folder: borrowing OwnedFD, _ path: [[UInt8]], _ skipsUnreadable: Bool,
        _ body: (Entry) throws(SystemError) -> Step
    ) throws(SystemError) {
        let raw = folder.raw
        for name in try names(folder) {
            var info = stat()
            if fstatat(raw, name, &info, AT_SYMLINK_NOFOLLOW) != 0 {
                if errno == ENOENT || errno == EACCES && skipsUnreadable { continue }
                throw .last("lstat in \(path.count) folders")
            }
            let kind: Kind =
                switch info.st_mode & S_IFMT {
                case S_IFREG: .file
                case S_IFDIR: .folder
                case S_IFLNK: .link
                default: .other
                }
            let own = path + [name.dropLast().map { UInt8(bitPattern: $0) }]
            let entry = Entry(path: own, kind: kind, info: info, folder: raw, name: name)
            guard try body(entry) == .descend, kind == .folder else { continue }
            let child = openat(raw, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
            if child < 0 {
                if errno == EACCES && skipsUnreadable { continue }
                throw .last("open \(entry.text)")
            }
            try visit(OwnedFD(child), own, skipsUnreadable, body)
        }
    }

    /// With their final zero; read whole first, so that entries may be removed meanwhile.
    static func names(_ folder: borrowing OwnedFD) throws(SystemError) -> [[CChar]] {
        let copy = try folder.duplicate().release()
        guard let stream = fdopendir(copy) else {
            let error = SystemError.last("fdopendir")
            Glibc.close(copy)
            throw error
        }
        defer { closedir(stream) }
        rewinddir(stream)
        var list: [[CChar]] = []
        while let entry = readdir(stream) {
            let name = withUnsafePointer(to: &entry.pointee.d_name) {
                $0.withMemoryRebound(to: CChar.self, capacity: 256) {
                    Array(UnsafeBufferPointer(start: $0, count: strlen($0) + 1))
                }
            }
            if name != [46, 0] && name != [46, 46, 0] { list.append(name) }
        }
        return list
    }

    private static func remove(_ name: [CChar], in folder: Int32, isFolder: Bool) throws(SystemError) {
        if isFolder {
            // A folder that its owner may not write, as archives can hold.
            fchmodat(folder, name, 0o700, 0)
            let child = OwnedFD(
                try Syscall.check("open folder") {
                    openat(folder, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
                })
            let raw = child.raw
            for inner in try names(child) {
                var info = stat()
                guard fstatat(raw, inner, &info, AT_SYMLINK_NOFOLLOW) == 0 else { continue }
                try remove(inner, in: raw, isFolder: info.st_mode & S_IFMT == S_IFDIR)
            }
        }
        if unlinkat(folder, name, isFolder ? AT_REMOVEDIR : 0) != 0 && errno != ENOENT { throw .last("unlink") }
    }

    /// Removes all that is in a folder, and keeps the folder.
    static func empty(_ root: String) throws(SystemError) {
        try visit(root) { entry throws(SystemError) in
            try entry.remove()
            return .skip
        }
    }

    /// Blocks on the disk below a folder, in bytes; a file with several names counts once. Without what this user may not see.
    static func size(_ root: String) throws(SystemError) -> Int64 {
        struct File: Hashable {
            var device: dev_t
            var inode: ino_t
        }
        var total: Int64 = 0
        var seen: Set<File> = []
        try visit(root, skipsUnreadable: true) { entry throws(SystemError) in
            if entry.info.st_nlink > 1, entry.kind == .file,
                !seen.insert(File(device: entry.info.st_dev, inode: entry.info.st_ino)).inserted
            {
                return .descend
            }
            total += Int64(entry.info.st_blocks) * 512
            return .descend
        }
        return total
    }
}
