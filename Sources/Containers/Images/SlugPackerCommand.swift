import Domain
import FoundationEssentials
import Glibc
import OS

/// The child that packs a slug: reads a tenant's tree, so it runs as the app's own host uid, without rights.
///
/// `paas-engine pack-slug --limit BYTES`, with descriptor 3 the tree and descriptor 4 the file that becomes the image. Writes
/// one JSON object (`Reply`) to standard output.
public enum SlugPackerCommand {
    struct Reply: Codable {
        var packed: PackedSlug?
        var error: ErrorReport?
    }

    static let treeDescriptor: Int32 = 3
    static let imageDescriptor: Int32 = 4
    /// Of every slug's image, so that equal trees give equal bytes.
    private static let imageID = "5a1ea5ed-0000-5000-8000-000000000001"

    /// - Parameter arguments: those after `pack-slug`.
    /// - Returns: the exit status: 0 also for a tree that is refused; 2 for wrong use, 1 if the reply can't be written.
    public static func run(arguments: [String]) -> Int32 {
        guard arguments.count == 2, arguments[0] == "--limit", let limit = Int64(arguments[1]), limit > 0,
            fcntl(treeDescriptor, F_GETFD) >= 0, fcntl(imageDescriptor, F_GETFD) >= 0
        else {
            complain("is started by paas-engine only")
            return 2
        }
        var reply = Reply()
        do throws(PaaSError) {
            reply.packed = try pack(limitBytes: limit)
        } catch {
            complain("\(ErrorChain(error))")
            reply.error = ErrorReport(error)
        }
        do {
            let bytes = Array(try JSONEncoder().encode(reply))
            let out = OwnedFD(STDOUT_FILENO)
            try out.writeAll(bytes)
            _ = out.release()
            return 0
        } catch {
            complain("\(error)")
            return 1
        }
    }

    /// Into the engine's own log, which standard error is.
    private static func complain(_ text: String) {
        let line = Array("pack-slug: \(text)\n".utf8)
        _ = write(STDERR_FILENO, line, line.count)
    }

    private static func pack(limitBytes: Int64) throws(PaaSError) -> PackedSlug {
        // mkfs.erofs takes a path, and this is the one that can't be another folder by then.
        try ImageFailure.wrap("can't pack the slug") { () throws(SystemError) in
            try Syscall.check("fchdir") { fchdir(treeDescriptor) }
        }
        let root = OwnedFD(treeDescriptor)
        let tree = try SlugTree(root, limitBytes: limitBytes)
        // Both read the whole tree, each on a processor of its own. Nobody changes it any more: the list above set the modes.
        let image = try startImage()
        let hashed: Result<(digest: SlugDigest, bytes: Int64), PaaSError>
        do throws(PaaSError) {
            hashed = .success(try tree.digest(root))
        } catch {
            hashed = .failure(error)
        }
        let made = image.wait { $0 }
        let (digest, bytes) = try hashed.get()
        try made?.get()
        var info = stat()
        try ImageFailure.wrap("can't pack the slug") { () throws(SystemError) in
            try Syscall.check("fstat") { fstat(imageDescriptor, &info) }
        }
        return PackedSlug(digest: digest, sizeBytes: bytes, imageBytes: Int64(info.st_size), files: tree.files)
    }

    /// Makes the image on a thread of its own, which ends with it.
    /// - Returns: how it went, once it is there.
    private static func startImage() throws(PaaSError) -> Monitor<Result<Void, PaaSError>?> {
        let outcome = Monitor<Result<Void, PaaSError>?>(nil)
        try ImageFailure.wrap("can't pack the slug") { () throws(SystemError) in
            try Thread.tryStart("image") {
                let result: Result<Void, PaaSError>
                do throws(PaaSError) {
                    try makeImage()
                    result = .success(())
                } catch {
                    result = .failure(error)
                }
                outcome.withLock { $0 = result }
            }
        }
        return outcome
    }

    private static func makeImage() throws(PaaSError) {
        let time = String(CanonicalTar.modificationTime)
        let arguments = [
            "--quiet", "-zlz4", "-x-1", "-T\(time)", "-U", imageID, "--force-uid=1000", "--force-gid=1000",
            "--exclude-path=.git", "/proc/self/fd/\(imageDescriptor)", ".",
        ]
        let program = "/usr/bin/mkfs.erofs"
        let (status, words) = try ImageFailure.wrap("can't pack the slug") { () throws(SystemError) in
            var spec = ProcessSpec(program, arguments)
            spec.parentDeathSignal = SIGKILL
            let errors = try Pipe()
            let reading = try errors.readEnd.duplicate()
            let child = try ChildProcess.spawn(
                spec, descriptors: [nil, nil, errors.writeEnd.raw, nil, imageDescriptor])
            _ = consume errors
            var words: [UInt8] = []
            do throws(SystemError) {
                while true {
                    let part = try reading.read(upTo: 4096)
                    if part.isEmpty { break }
                    words = (words + part).suffix(4096)
                }
            } catch {
                throw child.abandon(error)
            }
            return (try child.wait(), String(decoding: words, as: UTF8.self))
        }
        if status == 128 + SIGXFSZ {
            throw PaaSError(
                .tooLarge, "the slug's image is larger than the limit; remove what is not needed at run time",
                source: .app)
        }
        guard status == 0 else { throw ImageFailure.failure("can't pack the slug", program, status, words: words) }
    }
}
