import AsyncHTTPClient
import Domain
import Glibc
import NIOCore

/// Inside of a sequence, `Failure` is the kind of error of the sequence.
typealias UploadFailure = Failure

/// A file as the body of a request, read part by part while it is sent.
struct UploadBody: AsyncSequence, Sendable {
    typealias Element = ByteBuffer
    static let partBytes = 256 << 10

    let descriptor: Int32
    let name: String
    /// Nil where it is not known before: a pipe.
    let size: Int64?

    /// - Parameter path: `-` for standard input.
    /// - Throws: `Failure` for what can't be read or is no file.
    init(path: String) throws(UploadFailure) {
        name = path == "-" ? "standard input" : path
        descriptor = path == "-" ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { throw UploadFailure("\(path) can't be opened: \(StandardInput.errorText(errno))") }
        var info = stat()
        guard fstat(descriptor, &info) == 0 else {
            throw UploadFailure("\(name) can't be looked at: \(StandardInput.errorText(errno))")
        }
        switch info.st_mode & S_IFMT {
        case S_IFREG: size = Int64(info.st_size)
        case S_IFDIR:
            throw UploadFailure("\(name) is a folder; make an archive of it: tar -czf source.tar.gz -C \(name) .")
        default: size = nil
        }
    }

    /// The kind of archive, as far as the name tells it. The platform looks at the bytes.
    var contentType: String {
        for (suffix, type) in [
            (".tar.gz", "gzip"), (".tgz", "gzip"), (".tar.xz", "x-xz"), (".txz", "x-xz"), (".tar.zst", "zstd"),
            (".tar.bz2", "x-bzip2"), (".tar", "x-tar"),
        ] where name.lowercased().hasSuffix(suffix) {
            return "application/\(type)"
        }
        return "application/octet-stream"
    }

    func close() { if descriptor != STDIN_FILENO { _ = Glibc.close(descriptor) } }

    func makeAsyncIterator() -> Iterator { Iterator(body: self) }

    struct Iterator: AsyncIteratorProtocol {
        let body: UploadBody
        private var sent: Int64 = 0
        private var told = ContinuousClock.now

        init(body: UploadBody) { self.body = body }

        mutating func next() async throws -> ByteBuffer? {
            var buffer = ByteBufferAllocator().buffer(capacity: UploadBody.partBytes)
            let descriptor = body.descriptor
            let count = try buffer.writeWithUnsafeMutableBytes(minimumWritableBytes: UploadBody.partBytes) { memory in
                while true {
                    let count = read(descriptor, memory.baseAddress, UploadBody.partBytes)
                    if count < 0, errno == EINTR { continue }
                    guard count >= 0 else {
                        throw UploadFailure("\(body.name) can't be read: \(StandardInput.errorText(errno))")
                    }
                    return count
                }
            }
            sent += Int64(count)
            // A file that shrinks would leave the request without its end.
            if count == 0, let size = body.size, sent < size {
                throw UploadFailure("\(body.name) became shorter while it was sent; try again")
            }
            if Console.errorIsTerminal, ContinuousClock.now - told > .seconds(1) {
                told = .now
                let share = body.size.map { $0 > 0 ? " (\(sent * 100 / $0) %)" : "" } ?? ""
                Console.note("Sent \(sent >> 20) MiB\(share)")
            }
            return count == 0 ? nil : buffer
        }
    }
}
