import CShim
import Domain
import Glibc

/// Whole files and folders, blocking: not to be called from the cooperative pool.
public enum Files {
    /// The bytes of a regular file of at most `limit` bytes. Nil if it is not there.
    public static func read(_ path: String, limit: Int = 64 << 20) throws(SystemError) -> [UInt8]? {
        let file: OwnedFD
        do throws(SystemError) {
            file = try OwnedFD.open(path, O_RDONLY)
        } catch {
            if error.errno == ENOENT || error.errno == ENOTDIR { return nil }
            throw error
        }
        let bytes = try file.readFully(limit + 1)
        if bytes.count > limit { throw SystemError("read \(path)", errno: EFBIG) }
        return bytes
    }

    /// The text of a small file, without white space at its ends. Nil if it is not there.
    public static func readText(_ path: String, limit: Int = 1 << 20) throws(SystemError) -> String? {
        guard let bytes = try read(path, limit: limit) else { return nil }
        return String(String(decoding: bytes, as: UTF8.self).trimmingWhitespace())
    }

    /// For files of /proc, /sys and cgroups: one write, no new file.
    public static func writeExisting(_ path: String, _ text: String) throws(SystemError) {
        let file = try OwnedFD.open(path, O_WRONLY)
        try file.writeAll(text.utf8)
    }

    /// All or nothing, also across a power cut: temporary file, fsync, rename, fsync of the folder.
    public static func writeDurably(_ path: String, _ bytes: some Collection<UInt8>, mode: mode_t = 0o600)
        throws(SystemError)
    {
        let temporary = "\(path).tmp.\(getpid()).\(slipway_gettid())"
        do throws(SystemError) {
            let file = try OwnedFD.open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW, mode: mode)
            try file.writeAll(bytes)
            try file.sync()
            try rename(temporary, path)
        } catch {
            unlink(temporary)
            throw error
        }
        try syncFolder(of: path)
    }

    public static func rename(_ from: String, _ to: String) throws(SystemError) {
        try Syscall.check("rename \(from)") { Glibc.rename(from, to) }
    }

    /// Makes the entry of `path` in its folder durable.
    public static func syncFolder(of path: String) throws(SystemError) {
        let folder = try OwnedFD.open(parent(path), O_RDONLY | O_DIRECTORY)
        try folder.sync()
    }

    public static func parent(_ path: String) -> String {
        guard let slash = path.lastIndex(of: "/") else { return "." }
        return slash == path.startIndex ? "/" : String(path[..<slash])
    }

    public static func exists(_ path: String) -> Bool {
        var info = stat()
        return lstat(path, &info) == 0
    }

    /// An absolute path as the kernel writes it in its list of mounts: links, `.` and doubled slashes in the part that
    /// exists are resolved, the rest is cleaned.
    public static func canonical(_ path: String) -> String {
        var rest: [Substring] = []
        var head = path[...]
        while true {
            if let real = realpath(head.isEmpty ? "/" : String(head), nil) {
                defer { free(real) }
                let base = String(cString: real)
                return rest.isEmpty
                    ? base : ([base == "/" ? "" : base] + rest.reversed().map(String.init)).joined(separator: "/")
            }
            guard let slash = head.lastIndex(of: "/") else { return path }
            let name = head[head.index(after: slash)...]
            if !name.isEmpty && name != "." { rest.append(name) }
            head = head[..<slash]
        }
    }

    public static func makeDirectories(_ path: String, mode: mode_t = 0o755) throws(SystemError) {
        if mkdir(path, mode) == 0 || errno == EEXIST { return }
        guard errno == ENOENT, path != "/" else { throw .last("mkdir \(path)") }
        try makeDirectories(parent(path), mode: 0o755)
        if mkdir(path, mode) != 0 && errno != EEXIST { throw .last("mkdir \(path)") }
    }

    public static func setOwner(_ path: String, uid: uid_t, gid: gid_t) throws(SystemError) {
        try Syscall.check("chown \(path)") { lchown(path, uid, gid) }
    }

    public static func setMode(_ path: String, _ mode: mode_t) throws(SystemError) {
        try Syscall.check("chmod \(path)") { chmod(path, mode) }
    }

    /// Names in a folder, sorted, without `.` and `..`. Empty if the folder is not there.
    public static func list(_ path: String) throws(SystemError) -> [String] {
        guard let folder = opendir(path) else {
            if errno == ENOENT { return [] }
            throw .last("opendir \(path)")
        }
        defer { closedir(folder) }
        var names: [String] = []
        while let entry = readdir(folder) {
            let name = withUnsafePointer(to: &entry.pointee.d_name) {
                $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            if name != "." && name != ".." { names.append(name) }
        }
        return names.sorted()
    }

    /// Fine if it is not there.
    public static func remove(_ path: String) throws(SystemError) {
        if unlink(path) != 0 && errno != ENOENT { throw .last("unlink \(path)") }
    }

    /// Removes a folder and all in it. Links are removed, never followed; stops at mount points (EBUSY).
    public static func removeTree(_ path: String) throws(SystemError) {
        var info = stat()
        guard lstat(path, &info) == 0 else {
            if errno == ENOENT { return }
            throw .last("lstat \(path)")
        }
        guard info.st_mode & S_IFMT == S_IFDIR else { return try remove(path) }
        let folder = try OwnedFD.open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW)
        try removeContents(folder, path)
        if rmdir(path) != 0 && errno != ENOENT { throw .last("rmdir \(path)") }
    }

    private static func removeContents(_ folder: borrowing OwnedFD, _ path: String) throws(SystemError) {
        let copy = try folder.duplicate().release()
        guard let stream = fdopendir(copy) else {
            let error = SystemError.last("fdopendir \(path)")
            Glibc.close(copy)
            throw error
        }
        defer { closedir(stream) }
        rewinddir(stream)
        let raw = folder.raw
        while let entry = readdir(stream) {
            let isDirectory = entry.pointee.d_type == UInt8(DT_DIR)
            let name = withUnsafePointer(to: &entry.pointee.d_name) {
                $0.withMemoryRebound(to: CChar.self, capacity: 256) {
                    Array(UnsafeBufferPointer(start: $0, count: strlen($0) + 1))
                }
            }
            if name == [46, 0] || name == [46, 46, 0] { continue }
            if !isDirectory && unlinkat(raw, name, 0) == 0 { continue }
            if !isDirectory && errno != EISDIR && errno != EPERM { throw .last("unlink in \(path)") }
            let child = openat(raw, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
            guard child >= 0 else { throw .last("open folder in \(path)") }
            try removeContents(OwnedFD(child), path)
            if unlinkat(raw, name, AT_REMOVEDIR) != 0 && errno != ENOENT { throw .last("rmdir in \(path)") }
        }
    }
}
