import Domain
import Glibc
import OS

/// A finished tree, listed and brought into its canonical form: no special files, no set-id or sticky bits, everything
/// readable by its owner. Entries are sorted by the bytes of their path; `.git` at the top is left out.
struct SlugTree {
    /// Folders and files beyond this are refused: the list is held in memory.
    static let entryLimit = 1_000_000

    /// Bytes of all paths and links together, for the same reason.
    static let pathBytesLimit = 128 << 20

    /// mkfs.erofs of Debian 12 can't take the one byte more that Linux allows.
    static let nameLimit = 254

    struct Entry {
        var path: [UInt8]
        var kind: CanonicalTar.Kind
        var mode: UInt32
        var size: Int64
        /// Where a link points, or the path of the first name of a file that has several.
        var link: [UInt8]
    }

    private(set) var entries: [Entry] = []

    /// Bytes of the canonical tar.
    private(set) var tarBytes: Int64 = CanonicalTar.endBytes

    var files: Int { entries.count { $0.kind == .file || $0.kind == .hardLink } }

    /// Reads the tree and corrects modes in place. Must run as the tree's owner, while nobody else changes it.
    /// - Throws: `invalid` naming what can't be in a slug; `tooLarge`.
    init(_ root: borrowing OwnedFD, limitBytes: Int64, pathBytesLimit: Int = SlugTree.pathBytesLimit) throws(PaaSError)
    {
        var pathBytes = 0
        struct FileID: Hashable {
            var device: dev_t
            var inode: ino_t
        }
        var identities: [(entry: Int, id: FileID)] = []
        var waiting: [[UInt8]] = [[]]
        try Self.read("can't read the finished tree") { () throws(SystemError) in
            let raw = root.raw
            try Syscall.check("chmod") { fchmod(raw, 0o755) }
        }
        while let path = waiting.popLast() {
            let folder = try Self.read("can't read the folder \(FolderTree.shown(path))") { () throws(SystemError) in
                try FolderTree.open(root, path, O_RDONLY | O_DIRECTORY)
            }
            let raw = folder.raw
            let names = try Self.read("can't read the folder \(FolderTree.shown(path))") { () throws(SystemError) in
                try FolderTree.names(folder.duplicate())
            }
            for name in names where !(path.isEmpty && name == Array(".git".utf8)) {
                let child = FolderTree.join(path, name)
                guard child.count <= FolderTree.pathLimit else { throw FolderTree.tooDeep(child) }
                guard entries.count < Self.entryLimit else {
                    throw PaaSError(
                        .tooLarge,
                        "the finished tree has more than \(Self.entryLimit) files; remove what is not needed at run time",
                        source: .app)
                }
                guard name.count <= Self.nameLimit else {
                    throw PaaSError(
                        .invalid,
                        "the name \(FolderTree.shown(name)) has \(name.count) bytes; a slug holds names of up to \(Self.nameLimit): shorten it",
                        source: .app)
                }
                let info = try Self.read("can't read \(FolderTree.shown(child))") { () throws(SystemError) in
                    try FolderTree.status(raw, name)
                }
                var entry = Entry(path: child, kind: .file, mode: info.st_mode & 0o777, size: 0, link: [])
                switch info.st_mode & S_IFMT {
                case S_IFDIR:
                    entry.kind = .folder
                    entry.mode |= 0o500
                    waiting.append(child)
                case S_IFREG:
                    entry.mode |= 0o400
                    entry.size = Int64(info.st_size)
                    if info.st_nlink > 1 {
                        identities.append((entries.count, FileID(device: info.st_dev, inode: info.st_ino)))
                    }
                case S_IFLNK:
                    entry.kind = .symbolicLink
                    entry.mode = 0o777
                    entry.link = try Self.read("can't read the link \(FolderTree.shown(child))") {
                        () throws(SystemError) in
                        try Self.target(raw, name)
                    }
                default:
                    throw PaaSError(
                        .invalid,
                        "\(FolderTree.shown(child)) is a \(Self.word(info.st_mode)); a slug holds files, folders and links only: remove it before the build ends",
                        source: .app)
                }
                if entry.kind != .symbolicLink && info.st_mode & 0o7777 != entry.mode {
                    try Self.read("can't set the mode of \(FolderTree.shown(child))") { () throws(SystemError) in
                        try FolderTree.call("chmod", name) { fchmodat(raw, $0, entry.mode, 0) }
                    }
                }
                pathBytes += entry.path.count + entry.link.count
                guard pathBytes <= pathBytesLimit else {
                    throw PaaSError(
                        .tooLarge,
                        "the names of all files of the finished tree have more than \(pathBytesLimit) bytes; remove what is not needed at run time, or use shorter names",
                        source: .app)
                }
                entries.append(entry)
            }
        }
        // The first name in path order holds the contents, the others refer to it: links inside the tree cost nothing.
        var first: [FileID: Int] = [:]
        for (index, id) in identities.sorted(by: {
            entries[$0.entry].path.lexicographicallyPrecedes(entries[$1.entry].path)
        }) {
            if let original = first[id] {
                entries[index].kind = .hardLink
                entries[index].size = 0
                entries[index].link = entries[original].path
            } else {
                first[id] = index
            }
        }
        entries.sort { $0.path.lexicographicallyPrecedes($1.path) }
        tarBytes += CanonicalTar.entryBytes(path: Self.tarPath([], .folder), link: [], size: 0)
        for entry in entries {
            tarBytes += CanonicalTar.entryBytes(
                path: Self.tarPath(entry.path, entry.kind), link: Self.tarLink(entry), size: entry.size)
            guard tarBytes <= limitBytes else {
                throw PaaSError(
                    .tooLarge,
                    "the slug is larger than the limit of \(limitBytes >> 20) MiB; remove what is not needed at run time",
                    source: .app)
            }
        }
    }

    /// Writes the canonical tar, with everything under `app/`, as it lies in a container.
    /// - Returns: its SHA-256 and its size.
    func digest(_ root: borrowing OwnedFD, sink: (([UInt8]) throws(SystemError) -> Void)? = nil) throws(PaaSError)
        -> (digest: SlugDigest, bytes: Int64)
    {
        var tar = CanonicalTar(sink: sink)
        do throws(SystemError) {
            try tar.header(path: Self.tarPath([], .folder), kind: .folder, mode: 0o755, size: 0, link: [])
            for entry in entries {
                try tar.header(
                    path: Self.tarPath(entry.path, entry.kind), kind: entry.kind, mode: entry.mode, size: entry.size,
                    link: Self.tarLink(entry))
                guard entry.kind == .file else { continue }
                let file = try FolderTree.open(root, entry.path, O_RDONLY | O_NONBLOCK)
                var left = entry.size
                while left > 0 {
                    let part = try file.read(upTo: Int(min(left, 256 << 10)))
                    // No process lives that could change it, so this is a fault of the disk or of ours.
                    if part.isEmpty { throw SystemError("\(FolderTree.shown(entry.path)) became shorter", errno: EIO) }
                    left -= Int64(part.count)
                    try tar.content(part)
                }
                try tar.pad(entry.size)
            }
            let hex = try tar.finish()
            guard let digest = SlugDigest(hex: hex) else { throw SystemError("digest", errno: EINVAL) }
            return (digest, tar.bytes)
        } catch {
            throw error.asPaaSError("can't read the finished tree")
        }
    }

    private static func tarPath(_ path: [UInt8], _ kind: CanonicalTar.Kind) -> [UInt8] {
        let inside = path.isEmpty ? Array("app".utf8) : Array("app/".utf8) + path
        return kind == .folder ? inside + [UInt8(ascii: "/")] : inside
    }

    private static func tarLink(_ entry: Entry) -> [UInt8] {
        entry.kind == .hardLink ? tarPath(entry.link, .file) : entry.link
    }

    private static func target(_ folder: Int32, _ name: [UInt8]) throws(SystemError) -> [UInt8] {
        var buffer = [CChar](repeating: 0, count: 4096)
        var length = 0
        try FolderTree.call("readlink", name) { path in
            length = readlinkat(folder, path, &buffer, buffer.count)
            return length < 0 ? -1 : 0
        }
        return buffer.prefix(length).map { UInt8(bitPattern: $0) }
    }

    private static func word(_ mode: mode_t) -> String {
        switch mode & S_IFMT {
        case S_IFIFO: "named pipe"
        case S_IFSOCK: "socket"
        case S_IFCHR, S_IFBLK: "device"
        default: "special file"
        }
    }

    private static func read<T: ~Copyable>(_ message: @autoclosure () -> String, _ body: () throws(SystemError) -> T)
        throws(PaaSError) -> T
    {
        try ImageFailure.wrap(message(), body)
    }
}
