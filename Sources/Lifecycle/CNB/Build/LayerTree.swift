import Glibc
import OS

/// Whole folders of layers: copied, moved, compared, removed. Links are copied as links and never followed. Modes and times
/// are kept, because build tools compare them. Folders that a tool made read-only are opened up where that is needed, as the
/// build runs without the rights of root.
enum LayerTree {
    /// By rename where both are on one mount, else by a copy.
    /// - Returns: what was left out, see `copy`.
    static func move(_ from: String, to: String) throws(SystemError) -> [String] {
        do throws(SystemError) {
            try Files.rename(from, to)
            return []
        } catch  where [EXDEV, EACCES, EPERM].contains(error.errno) {}
        let skipped = try copy(from, to: to)
        try remove(from)
        return skipped
    }

    /// - Parameter to: must not be there; its parent must be.
    /// - Returns: paths of sockets, pipes and devices, which are left out.
    static func copy(_ from: String, to: String) throws(SystemError) -> [String] {
        var copier = Copier()
        try copier.copy(from, to)
        return copier.skipped
    }

    /// Whether both hold the same, as far as names, kinds, modes, sizes, times and links tell.
    static func isSame(_ a: String, _ b: String) throws(SystemError) -> Bool {
        guard let first = FileFacts(a), let second = FileFacts(b), first.mode == second.mode else { return false }
        if first.isLink { return try target(a) == target(b) }
        if first.isFile { return first.size == second.size && first.modified == second.modified }
        guard first.isFolder else { return false }
        let names = try Files.list(a)
        guard try names == Files.list(b) else { return false }
        for name in names where try !isSame("\(a)/\(name)", "\(b)/\(name)") { return false }
        return true
    }

    /// Fine if it is not there.
    static func remove(_ path: String) throws(SystemError) {
        guard let facts = FileFacts(path) else { return }
        guard facts.isFolder else { return try Files.remove(path) }
        if facts.mode & 0o700 != 0o700 { try Files.setMode(path, facts.mode & 0o7777 | 0o700) }
        for name in try Files.list(path) { try remove("\(path)/\(name)") }
        try Syscall.check("rmdir \(path)") { rmdir(path) }
    }

    fileprivate static func target(_ path: String) throws(SystemError) -> [UInt8] {
        var buffer = [CChar](repeating: 0, count: 4_096)
        let count = try Syscall.check("readlink \(path)") { readlink(path, &buffer, 4_096) }
        return buffer.prefix(count).map { UInt8(bitPattern: $0) }
    }
}

private struct Copier {
    private struct Identity: Hashable {
        var device: UInt64
        var inode: UInt64
    }

    var skipped: [String] = []
    /// Where files with several names went.
    private var linked: [Identity: String] = [:]

    mutating func copy(_ from: String, _ to: String) throws(SystemError) {
        guard let facts = FileFacts(from) else { throw .last("lstat \(from)") }
        switch facts.mode & S_IFMT {
        case S_IFDIR: try copyFolder(from, to, facts)
        case S_IFREG:
            let identity = Identity(device: facts.device, inode: facts.inode)
            if facts.links > 1, let first = linked[identity] {
                try Syscall.check("link \(to)") { link(first, to) }
                return
            }
            try copyFile(from, to, facts)
            if facts.links > 1 { linked[identity] = to }
        case S_IFLNK:
            let target = try LayerTree.target(from)
            let text = target.map { CChar(bitPattern: $0) } + [0]
            try Syscall.check("symlink \(to)") { symlink(text, to) }
        default: skipped.append(from)
        }
    }

    private mutating func copyFolder(_ from: String, _ to: String, _ facts: FileFacts) throws(SystemError) {
        if facts.mode & 0o500 != 0o500 { try Files.setMode(from, facts.mode & 0o7777 | 0o500) }
        try Syscall.check("mkdir \(to)") { mkdir(to, 0o700) }
        for name in try Files.list(from) { try copy("\(from)/\(name)", "\(to)/\(name)") }
        try Files.setMode(to, facts.mode & 0o7777)
        let times = Self.times(facts)
        try Syscall.check("utimensat \(to)") { utimensat(AT_FDCWD, to, times, 0) }
    }

    private func copyFile(_ from: String, _ to: String, _ facts: FileFacts) throws(SystemError) {
        if facts.mode & 0o400 == 0 { try Files.setMode(from, facts.mode & 0o7777 | 0o400) }
        let source = try OwnedFD.open(from, O_RDONLY | O_NOFOLLOW)
        let target = try OwnedFD.open(to, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, mode: 0o600)
        let write = target.raw
        while true {
            let part = try source.read(upTo: Int(min(max(facts.size, 1), 1 << 20)))
            if part.isEmpty { break }
            try target.writeAll(part)
        }
        try Syscall.check("fchmod \(to)") { fchmod(write, facts.mode & 0o7777) }
        let times = Self.times(facts)
        try Syscall.check("futimens \(to)") { futimens(write, times) }
    }

    private static func times(_ facts: FileFacts) -> [timespec] {
        let time = timespec(tv_sec: facts.modified[0], tv_nsec: facts.modified[1])
        return [time, time]
    }
}
