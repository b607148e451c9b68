import Crypto
import Domain
import FoundationEssentials
import Glibc
import OS

/// Slugs on disk: `<data>/slugs/<hex>.erofs` with its checksum beside it. A slug is there once its image has its name.
final class SlugStore: Sendable {
    private let directory: String
    private let packer: String

    /// - Parameter packer: the program that is started with `pack-slug`.
    init(directory: String, packer: String) {
        self.directory = directory
        self.packer = packer
    }

    func image(_ digest: SlugDigest) -> String { "\(directory)/\(digest.hex).erofs" }

    static func mountName(_ digest: SlugDigest) -> String { "slug-\(digest.hex)" }

    /// Removes what a killed engine left half done.
    func start() throws(PaaSError) {
        try ImageFailure.wrap("can't clean up \(directory)") { () throws(SystemError) in
            try Files.makeDirectories(directory, mode: 0o700)
            try Files.setMode(directory, 0o700)
            let names = try Files.list(directory)
            let images = Set(names.filter { $0.hasSuffix(".erofs") })
            for name in names {
                let orphan = name.hasSuffix(".sha256") && !images.contains(String(name.dropLast(".sha256".count)))
                if orphan || name.hasPrefix(".pack.") || name.contains(".tmp.") {
                    try Files.remove("\(directory)/\(name)")
                }
            }
        }
    }

    func list() throws(PaaSError) -> [SlugDigest] {
        try ImageFailure.wrap("can't list the slugs") { () throws(SystemError) in
            try Files.list(directory).compactMap { name in
                name.hasSuffix(".erofs") ? SlugDigest(hex: name.dropLast(".erofs".count)) : nil
            }
        }
    }

    /// Fine if it is not there.
    func remove(_ digest: SlugDigest) throws(PaaSError) {
        try ImageFailure.wrap("can't remove the slug \(digest)") { () throws(SystemError) in
            try Files.remove(image(digest))
            try Files.remove(image(digest) + ".sha256")
            try Files.syncFolder(of: image(digest))
        }
    }

    /// Reads the whole image and compares it with its checksum.
    /// - Throws: `notFound`; `internal` for an image that is damaged.
    func verify(_ digest: SlugDigest) throws(PaaSError) {
        let path = image(digest)
        guard Files.exists(path) else {
            throw PaaSError(
                .notFound, "the slug \(digest) is not on this host; release a build that is, or build again",
                source: .platform)
        }
        let (wanted, found) = try ImageFailure.wrap("can't read the slug \(digest)") { () throws(SystemError) in
            (try Files.readText(path + ".sha256"), try Self.checksum(OwnedFD.open(path, O_RDONLY | O_NOFOLLOW)))
        }
        guard wanted == found else {
            throw PaaSError(
                .internal, "the image of slug \(digest) is damaged on disk; build the commit again", retry: .never)
        }
    }

    /// Packs the tree of a folder that belongs to `owner`, in a child that runs as `owner`.
    func pack(tree: borrowing OwnedFD, owner: uid_t, limitBytes: Int64) throws(PaaSError) -> PackedSlug {
        let temporary = "\(directory)/.pack.\(UUID().uuidString.lowercased())"
        defer { unlink(temporary) }
        let image = try ImageFailure.wrap("can't store the slug") { () throws(SystemError) in
            let file = try OwnedFD.open(temporary, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW)
            let raw = file.raw
            try Syscall.check("chown") { fchown(raw, owner, owner) }
            return file
        }
        let reply = try runPacker(tree: tree, image: image, owner: owner, limitBytes: limitBytes)
        if let error = reply.error { throw error.asError }
        guard let packed = reply.packed else { throw PaaSError(.internal, "packing the slug gave no result") }
        try ImageFailure.wrap("can't store the slug") { () throws(SystemError) in
            let final = self.image(packed.digest)
            let raw = image.raw
            try Syscall.check("chown") { fchown(raw, 0, 0) }
            try Syscall.check("chmod") { fchmod(raw, 0o400) }
            if Files.exists(final) { return }
            try image.sync()
            let sum = try Self.checksum(OwnedFD.open(temporary, O_RDONLY))
            try Files.writeDurably(final + ".sha256", Array("\(sum)\n".utf8), mode: 0o400)
            try Files.rename(temporary, final)
            try Files.syncFolder(of: final)
        }
        return packed
    }

    /// O_PATH, which Swift's Glibc module leaves out.
    private static let openPath: Int32 = 0o10_000_000

    private func runPacker(tree: borrowing OwnedFD, image: borrowing OwnedFD, owner: uid_t, limitBytes: Int64)
        throws(PaaSError) -> SlugPackerCommand.Reply
    {
        let treeFD = tree.raw
        let imageFD = image.raw
        let (status, output) = try ImageFailure.wrap("can't start packing the slug") { () throws(SystemError) in
            // By descriptor, because the app's uid may not be able to walk to the program.
            let program = try OwnedFD.open(packer, Self.openPath)
            let programFD = program.raw
            let high = OwnedFD(try Syscall.check("dup") { fcntl(programFD, F_DUPFD_CLOEXEC, 32) })
            let pipe = try Pipe()
            var spec = ProcessSpec("/proc/self/fd/\(high.raw)", ["pack-slug", "--limit", String(limitBytes)])
            spec.user = ProcessSpec.User(uid: owner, gid: owner)
            // An image is smaller than its tar but for tiny files, which take a block each.
            spec.fileBytesLimit = limitBytes + limitBytes / 2 + (64 << 20)
            spec.cpuSecondsLimit = 1800
            spec.umask = 0o077
            let reading = try pipe.readEnd.duplicate()
            let child = try ChildProcess.spawn(spec, descriptors: [nil, pipe.writeEnd.raw, 2, treeFD, imageFD])
            _ = consume pipe
            let output = try reading.readFully(1 << 20)
            return (try child.wait(), output)
        }
        guard status == 0 else {
            throw PaaSError(
                .internal, "packing the slug failed; the platform's log has the details",
                cause: ProgramFailure(path: "pack-slug", status: status, words: ""))
        }
        do {
            return try JSONDecoder().decode(SlugPackerCommand.Reply.self, from: Data(output))
        } catch {
            throw PaaSError(.internal, "packing the slug gave no readable result", cause: error)
        }
    }

    static func checksum(_ file: consuming OwnedFD) throws(SystemError) -> String {
        var hash = SHA256()
        while true {
            let part = try file.read(upTo: 1 << 20)
            if part.isEmpty { break }
            hash.update(data: part)
        }
        return SlugStore.hex(hash.finalize())
    }

    static func hex(_ bytes: some Sequence<UInt8>) -> String {
        let digits = Array("0123456789abcdef".utf8)
        return String(decoding: bytes.flatMap { [digits[Int($0 >> 4)], digits[Int($0 & 15)]] }, as: UTF8.self)
    }
}
