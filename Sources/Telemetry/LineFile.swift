import Glibc

/// A file of lines that loses its oldest when it grows. Its first line holds the offset of what follows in all that was
/// ever written, so that a place stays good when older lines go. Blocking.
struct LineFile {
    /// What a cut leaves; a cut comes at twice as much.
    static let keptBytes = 256 << 10
    private static let blockBytes = 64 << 10
    private static let headBytes = 32

    struct Failure: Error {
        var what: String
        var code: Int32
        var description: String { "\(what): \(String(cString: strerror(code)))" }
    }

    typealias Write = @Sendable (Int32, UnsafeRawBufferPointer) -> Int

    let path: String
    /// `write(2)`.
    let write: Write

    init(path: String, write: @escaping Write = { Glibc.write($0, $1.baseAddress, $1.count) }) {
        self.path = path
        self.write = write
    }

    /// An open file whose head was read.
    private struct Opened {
        var file: Int32
        /// Bytes of the file's first line.
        var head: Int
        /// Offset of the first kept byte in all that was ever written.
        var start: Int64
        /// Bytes behind the head.
        var count: Int64
        var end: Int64 { start + count }

        func read(at offset: Int64, _ count: Int) throws(Failure) -> [UInt8] {
            var buffer = [UInt8](repeating: 0, count: count)
            let read = pread(file, &buffer, count, off_t(Int64(head) + offset - start))
            guard read >= 0 else { throw Failure(what: "read", code: errno) }
            buffer.removeLast(count - read)
            return buffer
        }
    }

    // MARK: Writing

    /// Appends whole lines, all of them or none.
    func append(_ lines: [UInt8]) throws(Failure) {
        let file = open(path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0o600)
        guard file >= 0 else { throw Failure(what: "open", code: errno) }
        defer { close(file) }
        // Without a head it is new, or its first write was cut off.
        guard let opened = try Self.head(file) else { return try replace(start: 0, lines) }
        guard opened.count > 2 * Self.keptBytes else {
            do throws(Failure) {
                try writeAll(file, lines)
            } catch {
                // Half a line would join the next one.
                ftruncate(file, off_t(Int64(opened.head) + opened.count))
                throw error
            }
            return
        }
        let from = opened.end - Int64(Self.keptBytes)
        let tail = try opened.read(at: from, Self.keptBytes)
        let cut = tail.firstIndex(of: 10).map { $0 + 1 } ?? tail.count
        try replace(start: from + Int64(cut), Array(tail[cut...]) + lines)
    }

    /// Puts a new file in the place of the old one, which stays if that fails.
    private func replace(start: Int64, _ content: [UInt8]) throws(Failure) {
        let new = path + ".new"
        let file = open(new, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0o600)
        guard file >= 0 else { throw Failure(what: "open", code: errno) }
        defer { close(file) }
        do throws(Failure) {
            try writeAll(file, Array("\(start)\n".utf8) + content)
            guard rename(new, path) == 0 else { throw Failure(what: "rename", code: errno) }
        } catch {
            unlink(new)
            throw error
        }
    }

    private func writeAll(_ file: Int32, _ bytes: [UInt8]) throws(Failure) {
        var done = 0
        while done < bytes.count {
            let count = bytes[done...].withUnsafeBytes { write(file, $0) }
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { throw Failure(what: "write", code: count < 0 ? errno : ENOSPC) }
            done += count
        }
    }

    func remove() {
        unlink(path)
        unlink(path + ".new")
    }

    // MARK: Reading

    /// Gives lines to `take` from a place on, or from the oldest one, until it wants no more. Returns the place behind the
    /// last line that it took.
    func read(from place: Int64?, _ take: (ArraySlice<UInt8>) -> Bool) throws(Failure) -> Int64 {
        let file = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW)
        guard file >= 0 else {
            guard errno == ENOENT else { throw Failure(what: "open", code: errno) }
            return 0
        }
        defer { close(file) }
        guard let opened = try Self.head(file) else { return 0 }
        var position = min(max(place ?? opened.start, opened.start), opened.end)
        var rest: [UInt8] = []
        while true {
            let block = try opened.read(at: position + Int64(rest.count), Self.blockBytes)
            if block.isEmpty { return position }
            rest += block
            var begin = 0
            while let newline = rest[begin...].firstIndex(of: 10) {
                guard take(rest[begin..<newline]) else { return position }
                position += Int64(newline + 1 - begin)
                begin = newline + 1
            }
            rest.removeFirst(begin)
        }
    }

    private static func head(_ file: Int32) throws(Failure) -> Opened? {
        var info = stat()
        guard fstat(file, &info) == 0 else { throw Failure(what: "fstat", code: errno) }
        var bytes = [UInt8](repeating: 0, count: headBytes)
        let count = pread(file, &bytes, headBytes, 0)
        guard count >= 0 else { throw Failure(what: "read", code: errno) }
        guard let newline = bytes[..<count].firstIndex(of: 10),
            let start = Int64(String(decoding: bytes[..<newline], as: UTF8.self))
        else { return nil }
        return Opened(file: file, head: newline + 1, start: start, count: Int64(info.st_size) - Int64(newline + 1))
    }
}
