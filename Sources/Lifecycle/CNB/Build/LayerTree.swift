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
        var copier = TreeCopier()
        try copier.copy(RawPath(from), RawPath(to))
        return copier.skipped
    }

    /// Whether both hold the same: names, kinds, modes, times, links and content. A tool may keep size and time of a file that
    /// it changes.
    static func isSame(_ a: String, _ b: String) throws(SystemError) -> Bool { try isSame(RawPath(a), RawPath(b)) }

    private static func isSame(_ a: RawPath, _ b: RawPath) throws(SystemError) -> Bool {
        guard let first = a.facts, let second = b.facts, first.mode == second.mode else { return false }
        if first.isLink { return try target(a) == target(b) }
        if first.isFile {
            guard first.size == second.size, first.modified == second.modified else { return false }
            return try hasSameBytes(a, b)
        }
        guard first.isFolder else { return false }
        let names = try a.names()
        guard try names == b.names() else { return false }
        for name in names where try !isSame(a.appending(name), b.appending(name)) { return false }
        return true
    }

    private static func hasSameBytes(_ a: RawPath, _ b: RawPath) throws(SystemError) -> Bool {
        do throws(SystemError) {
            let first = try a.open(O_RDONLY | O_NONBLOCK)
            let second = try b.open(O_RDONLY | O_NONBLOCK)
            while true {
                let part = try first.readFully(1 << 20)
                guard try part == second.readFully(1 << 20) else { return false }
                if part.isEmpty { return true }
            }
        } catch  where error.errno == EACCES {
            // What its owner may not read is copied again, which opens it up.
            return false
        }
    }

    /// Fine if it is not there.
    static func remove(_ path: String) throws(SystemError) { try remove(RawPath(path)) }

    static func remove(_ path: RawPath) throws(SystemError) {
        guard let facts = path.facts else { return }
        guard facts.isFolder else {
            if unlink(path.bytes) != 0 && errno != ENOENT { throw .last("unlink \(path.text)") }
            return
        }
        if facts.mode & 0o700 != 0o700 { try path.setMode(facts.mode & 0o7777 | 0o700) }
        for name in try path.names() { try remove(path.appending(name)) }
        try Syscall.check("rmdir \(path.text)") { rmdir(path.bytes) }
    }

    fileprivate static func target(_ path: RawPath) throws(SystemError) -> [UInt8] {
        var buffer = [CChar](repeating: 0, count: 4_096)
        let count = try Syscall.check("readlink \(path.text)") { readlink(path.bytes, &buffer, 4_096) }
        return buffer.prefix(count).map { UInt8(bitPattern: $0) }
    }
}

/// Copies one or more trees; several names of one file stay so among all that one copier copies.
struct TreeCopier {
    private struct Identity: Hashable {
        var device: UInt64
        var inode: UInt64
    }

    /// Sockets, pipes and devices, which were left out.
    var skipped: [String] = []
    /// Where files with several names went.
    private var linked: [Identity: RawPath] = [:]

    init() {}

    /// - Parameter to: must not be there; its parent must be.
    mutating func copy(_ from: RawPath, _ to: RawPath) throws(SystemError) {
        guard let facts = from.facts else { throw .last("lstat \(from.text)") }
        switch facts.mode & S_IFMT {
        case S_IFDIR: try copyFolder(from, to, facts)
        case S_IFREG:
            let identity = Identity(device: facts.device, inode: facts.inode)
            if facts.links > 1, let first = linked[identity] {
                try Syscall.check("link \(to.text)") { link(first.bytes, to.bytes) }
                return
            }
            try copyFile(from, to, facts)
            if facts.links > 1 { linked[identity] = to }
        case S_IFLNK:
            let target = try LayerTree.target(from)
            let text = target.map { CChar(bitPattern: $0) } + [0]
            try Syscall.check("symlink \(to.text)") { symlink(text, to.bytes) }
        default: skipped.append(from.text)
        }
    }

    private mutating func copyFolder(_ from: RawPath, _ to: RawPath, _ facts: FileFacts) throws(SystemError) {
        if facts.mode & 0o500 != 0o500 { try from.setMode(facts.mode & 0o7777 | 0o500) }
        try Syscall.check("mkdir \(to.text)") { mkdir(to.bytes, 0o700) }
        for name in try from.names() { try copy(from.appending(name), to.appending(name)) }
        try to.setMode(facts.mode & 0o7777)
        let times = Self.times(facts)
        try Syscall.check("utimensat \(to.text)") { utimensat(AT_FDCWD, to.bytes, times, 0) }
    }

    private func copyFile(_ from: RawPath, _ to: RawPath, _ facts: FileFacts) throws(SystemError) {
        if facts.mode & 0o400 == 0 { try from.setMode(facts.mode & 0o7777 | 0o400) }
        let source = try from.open(O_RDONLY)
        let target = try to.open(O_WRONLY | O_CREAT | O_EXCL, mode: 0o600)
        let write = target.raw
        while true {
            let part = try source.read(upTo: Int(min(max(facts.size, 1), 1 << 20)))
            if part.isEmpty { break }
            try target.writeAll(part)
        }
        try Syscall.check("fchmod \(to.text)") { fchmod(write, facts.mode & 0o7777) }
        let times = Self.times(facts)
        try Syscall.check("futimens \(to.text)") { futimens(write, times) }
    }

    private static func times(_ facts: FileFacts) -> [timespec] {
        let time = timespec(tv_sec: facts.modified[0], tv_nsec: facts.modified[1])
        return [time, time]
    }
}
