import CShim
import Domain
import Glibc
import OS

/// Work on a tree that a tenant made: by descriptors, never through a link, and without recursion, because its depth is the
/// tenant's choice.
enum FolderTree {
    /// Longest path inside a tree, in bytes. With the folder of the tree in front it stays below the kernel's limit of 4096.
    static let pathLimit = 3800

    /// Names of a folder that is emptied, at a time.
    private static let batch = 4096

    /// Opens `path` below `root`; no part of it may be a link. An empty path is the root itself.
    static func open(_ root: borrowing OwnedFD, _ path: [UInt8], _ flags: Int32) throws(SystemError) -> OwnedFD {
        let raw = root.raw
        let name = path.isEmpty ? [UInt8(ascii: "."), 0] : path + [0]
        let result = name.withUnsafeBytes { bytes in
            bytes.withMemoryRebound(to: CChar.self) { slipway_open_beneath(raw, $0.baseAddress, flags, 0) }
        }
        return OwnedFD(try Syscall.shim("open \(shown(path))", result))
    }

    /// Names in a folder that was opened for reading, without `.` and `..`, in no order.
    /// - Parameter limit: no more than these are read.
    static func names(_ folder: consuming OwnedFD, limit: Int = .max) throws(SystemError) -> [[UInt8]] {
        var names: [[UInt8]] = []
        try visit(folder) { name in
            names.append(name)
            return names.count < limit
        }
        return names
    }

    /// Calls `body` with each name, until it returns false. A folder may have more names than memory should hold.
    private static func visit(_ folder: consuming OwnedFD, _ body: ([UInt8]) throws(SystemError) -> Bool)
        throws(SystemError)
    {
        let raw = folder.release()
        guard let stream = fdopendir(raw) else {
            let error = SystemError.last("fdopendir")
            Glibc.close(raw)
            throw error
        }
        defer { closedir(stream) }
        while true {
            errno = 0
            guard let entry = readdir(stream) else {
                if errno != 0 { throw SystemError.last("readdir") }
                return
            }
            let name = withUnsafeBytes(of: &entry.pointee.d_name) { Array($0.prefix { $0 != 0 }) }
            if name != [46] && name != [46, 46], try !body(name) { return }
        }
    }

    /// `lstat` of a name in a folder.
    static func status(_ folder: Int32, _ name: [UInt8]) throws(SystemError) -> stat {
        var info = stat()
        try call("stat \(shown(name))", name) { fstatat(folder, $0, &info, AT_SYMLINK_NOFOLLOW) }
        return info
    }

    /// Runs a call that takes a file name as C text.
    static func call(_ operation: @autoclosure () -> String, _ name: [UInt8], _ body: (UnsafePointer<CChar>) -> Int32)
        throws(SystemError)
    {
        let text = name.map { CChar(bitPattern: $0) } + [0]
        try Syscall.check(operation()) { text.withUnsafeBufferPointer { $0.baseAddress.map(body) ?? -1 } }
    }

    static func join(_ path: [UInt8], _ name: [UInt8]) -> [UInt8] {
        path.isEmpty ? name : path + [UInt8(ascii: "/")] + name
    }

    /// A path for a message: quoted, control characters replaced.
    static func shown(_ path: [UInt8]) -> String { Names.quoted(String(decoding: path, as: UTF8.self)) }

    static func isFolder(_ info: stat) -> Bool { info.st_mode & S_IFMT == S_IFDIR }

    /// Gives everything below `root`, then `root` itself, to another owner. Links themselves are given away, not what they
    /// point to.
    /// - Parameters:
    ///   - waitingLimit: bytes of paths of folders that are known and not visited yet.
    ///   - isWanted: asked for each file; what is not wanted any more ends there.
    /// - Throws: `invalid`, `tooLarge`, `cancelled`.
    static func giveAway(
        _ root: borrowing OwnedFD, uid: uid_t, gid: gid_t, waitingLimit: Int = 64 << 20,
        while isWanted: () -> Bool = { true }
    ) throws(PaaSError) {
        var goesOn = true
        var waiting: [[UInt8]] = [[]]
        var bytes = 0
        while let path = waiting.popLast() {
            bytes -= path.count
            guard path.count <= pathLimit else { throw tooDeep(path) }
            try ImageFailure.wrap("can't hand the source over to the build") { () throws(SystemError) in
                let folder = try open(root, path, O_RDONLY | O_DIRECTORY)
                let raw = folder.raw
                try visit(folder.duplicate()) { (name) throws(SystemError) in
                    let info = try status(raw, name)
                    try call("chown \(shown(name))", name) { fchownat(raw, $0, uid, gid, AT_SYMLINK_NOFOLLOW) }
                    if isFolder(info) {
                        waiting.append(join(path, name))
                        bytes += path.count + name.count + 1
                    }
                    goesOn = isWanted()
                    return goesOn && bytes <= waitingLimit
                }
            }
            guard goesOn else { throw PaaSError(.cancelled, "the build was cancelled") }
            guard bytes <= waitingLimit else {
                throw PaaSError(
                    .tooLarge,
                    "the source has too many folders with long paths; use fewer folders or shorter names",
                    source: .app)
            }
        }
        let raw = root.raw
        try ImageFailure.wrap("can't hand the source over to the build") { () throws(SystemError) in
            try Syscall.check("chown") { fchown(raw, uid, gid) }
        }
    }

    /// Removes `name` and all below it. Folders are first moved to the top, so that depth costs neither descriptors nor
    /// stack. `folder` must be the caller's alone. Fine if `name` is not there; may be repeated.
    static func remove(_ name: String, in folder: borrowing OwnedFD) throws(SystemError) {
        let top = folder.raw
        let trashName = Array(".trash".utf8)
        let source = Array(name.utf8)
        let info: stat
        do throws(SystemError) {
            info = try status(top, source)
        } catch {
            if error.errno == ENOENT { return }
            throw error
        }
        guard isFolder(info) else {
            return try call("unlink \(name)", source) { unlinkat(top, $0, 0) }
        }
        if mkdirat(top, ".trash", 0o700) != 0 && errno != EEXIST { throw SystemError.last("mkdir .trash") }
        let trash = try open(folder, trashName, O_RDONLY | O_DIRECTORY)
        let trashFD = trash.raw
        var next = 0
        // An earlier run that was cut short may have left numbers behind.
        try visit(trash.duplicate()) { left in
            next = max(next, (Int(String(decoding: left, as: UTF8.self)) ?? 0) + 1)
            return true
        }
        try move(top, source, to: trashFD, number: next)
        next += 1
        while true {
            let waiting = try names(open(trash, [], O_RDONLY | O_DIRECTORY), limit: batch)
            if waiting.isEmpty { break }
            for number in waiting {
                let child = try open(trash, number, O_RDONLY | O_DIRECTORY)
                let childFD = child.raw
                while true {
                    let entries = try names(open(child, [], O_RDONLY | O_DIRECTORY), limit: batch)
                    if entries.isEmpty { break }
                    for entry in entries {
                        let status = try status(childFD, entry)
                        if isFolder(status) {
                            try move(childFD, entry, to: trashFD, number: next)
                            next += 1
                        } else {
                            try call("unlink \(shown(entry))", entry) { unlinkat(childFD, $0, 0) }
                        }
                    }
                }
                try call("rmdir \(shown(number))", number) { unlinkat(trashFD, $0, AT_REMOVEDIR) }
            }
        }
        try call("rmdir .trash", trashName) { unlinkat(top, $0, AT_REMOVEDIR) }
    }

    private static func move(_ from: Int32, _ name: [UInt8], to: Int32, number: Int) throws(SystemError) {
        let target = String(number)
        try call("rename \(shown(name))", name) { source in target.withCString { renameat(from, source, to, $0) } }
    }

    static func tooDeep(_ path: [UInt8]) -> PaaSError {
        PaaSError(
            .invalid,
            "the path \(shown(path)) is longer than \(pathLimit) bytes; shorten the names or make the tree less deep",
            source: .app)
    }
}
