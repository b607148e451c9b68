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
        // Side by side: each reads the whole tree, and neither waits for the other.
        let making = try ImageMaking.start()
        let digest: SlugDigest
        let bytes: Int64
        do throws(PaaSError) {
            (digest, bytes) = try tree.digest(root)
        } catch {
            making.abandon()
            throw error
        }
        try making.finish()
        var info = stat()
        try ImageFailure.wrap("can't pack the slug") { () throws(SystemError) in
            try Syscall.check("fstat") { fstat(imageDescriptor, &info) }
        }
        return PackedSlug(digest: digest, sizeBytes: bytes, imageBytes: Int64(info.st_size), files: tree.files)
    }

    /// mkfs.erofs at work, in the current folder.
    private struct ImageMaking: ~Copyable {
        private let child: ChildProcess
        private let reading: OwnedFD
        private static let program = "/usr/bin/mkfs.erofs"

        static func start() throws(PaaSError) -> ImageMaking {
            let time = String(CanonicalTar.modificationTime)
            let arguments = [
                "--quiet", "-zlz4", "-x-1", "-T\(time)", "-U", imageID, "--force-uid=1000", "--force-gid=1000",
                "--exclude-path=.git", "/proc/self/fd/\(imageDescriptor)", ".",
            ]
            return try ImageFailure.wrap("can't pack the slug") { () throws(SystemError) in
                var spec = ProcessSpec(program, arguments)
                spec.parentDeathSignal = SIGKILL
                let errors = try Pipe()
                let reading = try errors.readEnd.duplicate()
                let child = try ChildProcess.spawn(
                    spec, descriptors: [nil, nil, errors.writeEnd.raw, nil, imageDescriptor])
                return ImageMaking(child: child, reading: reading)
            }
        }

        /// Waits for its end.
        /// - Throws: `tooLarge` if the image outgrew the limit; `internal` with the program's own words.
        consuming func finish() throws(PaaSError) {
            var words: [UInt8] = []
            do throws(SystemError) {
                while true {
                    let part = try reading.read(upTo: 4096)
                    if part.isEmpty { break }
                    words = (words + part).suffix(4096)
                }
            } catch {
                throw child.abandon(error).asPaaSError("can't pack the slug")
            }
            let status: Int32
            do throws(SystemError) { status = try child.wait() } catch {
                throw error.asPaaSError("can't pack the slug")
            }
            if status == 128 + SIGXFSZ {
                throw PaaSError(
                    .tooLarge, "the slug's image is larger than the limit; remove what is not needed at run time",
                    source: .app)
            }
            guard status == 0 else {
                throw ImageFailure.failure(
                    "can't pack the slug", Self.program, status, words: String(decoding: words, as: UTF8.self))
            }
        }

        /// For a caller that can't go on.
        consuming func abandon() { _ = child.abandon(SystemError("mkfs.erofs", errno: ECANCELED)) }
    }
}
