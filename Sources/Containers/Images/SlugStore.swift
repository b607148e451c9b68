import Crypto
import Domain
import FoundationEssentials
import Glibc
import OS

/// Slugs on disk: `<data>/slugs/<hex>.erofs` with its checksum beside it. A slug is there once its image has its name.
final class SlugStore: Sendable {
    private let directory: String
    private let packer: String
    private let disk: HostDisk
    private let work: HostWork

    /// - Parameter packer: the program that is started with `pack-slug`.
    init(directory: String, packer: String, disk: HostDisk, work: HostWork) {
        self.directory = directory
        self.packer = packer
        self.disk = disk
        self.work = work
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
        let whole = try ImageFailure.wrap("can't read the slug \(digest)") { () throws(SystemError) in
            try isWhole(digest)
        }
        guard whole else {
            throw PaaSError(
                .internal, "the image of slug \(digest) is damaged on disk; build the commit again", retry: .never)
        }
    }

    /// Whether the image is what its checksum says. False also if it is not there.
    private func isWhole(_ digest: SlugDigest) throws(SystemError) -> Bool {
        let path = image(digest)
        guard Files.exists(path), let wanted = try Files.readText(path + ".sha256") else { return false }
        return try Self.checksum(OwnedFD.open(path, O_RDONLY | O_NOFOLLOW)) == wanted
    }

    /// Packs the tree of a folder that belongs to `owner`, in a child that runs as `owner`.
    /// - Parameters:
    ///   - usedBytes: that the tree takes up at most.
    ///   - volume: where the tree is; nobody writes to it any more.
    func pack(
        build: BuildID, tree: borrowing OwnedFD, owner: uid_t, limitBytes: Int64, usedBytes: Int64, volume: String
    ) throws(PaaSError) -> PackedSlug {
        let temporary = "\(directory)/.pack.\(UUID().uuidString.lowercased())"
        let room = min(usedBytes, Self.imageLimit(limitBytes))
        return try disk.withRoom(for: room, at: temporary, ignoring: volume) { () throws(PaaSError) in
            try pack(build: build, tree: tree, owner: owner, limitBytes: limitBytes, to: temporary)
        }
    }

    /// An image is smaller than its tar but for tiny files, which take a block each.
    private static func imageLimit(_ limitBytes: Int64) -> Int64 { limitBytes + limitBytes / 2 + (64 << 20) }

    private func pack(
        build: BuildID, tree: borrowing OwnedFD, owner: uid_t, limitBytes: Int64, to temporary: String
    ) throws(PaaSError) -> PackedSlug {
        defer { unlink(temporary) }
        let image = try ImageFailure.wrap("can't store the slug") { () throws(SystemError) in
            let file = try OwnedFD.open(temporary, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW)
            let raw = file.raw
            try Syscall.check("chown") { fchown(raw, owner, owner) }
            return file
        }
        let reply = try runPacker(
            build: build, tree: tree, image: image, owner: owner, limitBytes: limitBytes)
        if let error = reply.error { throw error.asError }
        guard let packed = reply.packed else { throw PaaSError(.internal, "packing the slug gave no result") }
        try ImageFailure.wrap("can't store the slug") { () throws(SystemError) in
            let final = self.image(packed.digest)
            let raw = image.raw
            try Syscall.check("chown") { fchown(raw, 0, 0) }
            try Syscall.check("chmod") { fchmod(raw, 0o400) }
            // The same again, unless the disk has spoiled what was there.
            if try isWhole(packed.digest) { return }
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

    private func runPacker(
        build: BuildID, tree: borrowing OwnedFD, image: borrowing OwnedFD, owner: uid_t, limitBytes: Int64
    ) throws(PaaSError) -> SlugPackerCommand.Reply {
        let treeFD = tree.raw
        let imageFD = image.raw
        return try work.run("can't start packing the slug", for: build) { (group) throws(PaaSError) in
            try runPacker(treeFD, imageFD, owner: owner, limitBytes: limitBytes, group)
        }
    }

    private func runPacker(_ treeFD: Int32, _ imageFD: Int32, owner: uid_t, limitBytes: Int64, _ group: HostWork.Group)
        throws(PaaSError) -> SlugPackerCommand.Reply
    {
        let (status, output, starved) = try ImageFailure.wrap("can't start packing the slug") {
            () throws(SystemError) in
            // By descriptor, because the app's uid may not be able to walk to the program.
            let program = try OwnedFD.open(packer, Self.openPath)
            let programFD = program.raw
            let high = OwnedFD(try Syscall.check("dup") { fcntl(programFD, F_DUPFD_CLOEXEC, 32) })
            let pipe = try Pipe()
            var spec = ProcessSpec("/proc/self/fd/\(high.raw)", ["pack-slug", "--limit", String(limitBytes)])
            spec.user = ProcessSpec.User(uid: owner, gid: owner)
            spec.fileBytesLimit = Self.imageLimit(limitBytes)
            spec.cpuSecondsLimit = 1800
            spec.umask = 0o077
            let reading = try pipe.readEnd.duplicate()
            let child = try ChildProcess.spawn(
                group.entered(spec), descriptors: [nil, pipe.writeEnd.raw, 2, treeFD, imageFD])
            _ = consume pipe
            let output: [UInt8]
            do throws(SystemError) {
                output = try reading.readFully(1 << 20)
            } catch {
                throw child.abandon(error)
            }
            return (try child.wait(), output, try group.ranOutOfMemory())
        }
        if starved {
            throw PaaSError(
                .tooLarge,
                "packing the slug takes more memory than PAAS_BUILD_MEMORY_BYTES allows; remove files that are not needed at run time",
                source: .app)
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
