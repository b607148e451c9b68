import Domain
import FoundationEssentials
import Glibc

/// Build logs as files: `<id>.log` holds the lines, `<id>.state` how many of its bytes count and the container's cursor.
///
/// Every append writes the lines first and then replaces the state: bytes beyond the state's length belong to an append that
/// did not finish; they are never read and the next append overwrites them.
public final class FileBuildLog: BuildLogStore {
    /// Longest output of one build, in bytes; what comes after is dropped, with a line that says so.
    public static let maximumBytes: Int64 = 32 << 20
    /// Room beyond that for the platform's own lines: why a build failed must not be lost with its output.
    static let reservedBytes: Int64 = 1 << 20
    static let maximumLineBytes = 64 << 10

    private struct State: Codable {
        var bytes: Int64 = 0
        var cursor: LogCursor?
        var full = false
    }

    private let directory: String
    private let thread = SerialThread()

    /// - Parameter directory: is made (0700) unless it is there.
    public init(directory: String) { self.directory = directory }

    public func append(_ build: BuildID, _ lines: [String], cursor: LogCursor?) async throws(PaaSError) {
        try await thread.run { [self] () throws(PaaSError) in try appendNow(build, lines, cursor) }
    }

    public func read(_ build: BuildID, from position: BuildLogPosition, limit: Int) async throws(PaaSError) -> (
        lines: [String], next: BuildLogPosition
    ) {
        try await thread.run { [self] () throws(PaaSError) in try readNow(build, position, limit) }
    }

    public func cursor(_ build: BuildID) async throws(PaaSError) -> LogCursor? {
        try await thread.run { [self] () throws(PaaSError) in try state(build).cursor }
    }

    public func remove(_ build: BuildID) async throws(PaaSError) {
        try await thread.run { [self] () throws(PaaSError) in
            for file in [path(build, "log"), path(build, "state")] where unlink(file) != 0 && errno != ENOENT {
                throw failure("remove", file)
            }
        }
    }

    public func list() async throws(PaaSError) -> [BuildID] {
        try await thread.run { [self] () throws(PaaSError) in
            guard let stream = opendir(directory) else {
                if errno == ENOENT { return [] }
                throw failure("list", directory)
            }
            defer { closedir(stream) }
            var found: [BuildID] = []
            while let entry = readdir(stream) {
                let name = withUnsafeBytes(of: &entry.pointee.d_name) {
                    String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self)
                }
                if name.hasSuffix(".log"), let id = BuildID(name.dropLast(4)) { found.append(id) }
            }
            return found
        }
    }

    // MARK: On the thread

    private func path(_ build: BuildID, _ kind: String) -> String { "\(directory)/\(build).\(kind)" }

    private func failure(_ what: String, _ path: String) -> PaaSError {
        let number = errno
        return PaaSError(.internal, "can't \(what) the build log \(path): \(String(cString: strerror(number)))")
    }

    private func appendNow(_ build: BuildID, _ lines: [String], _ cursor: LogCursor?) throws(PaaSError) {
        var state = try state(build)
        var bytes: [UInt8] = []
        // Only output of the container moves the cursor.
        let isOutput = cursor != nil
        for line in lines where !(isOutput && state.full) {
            let content = Self.clean(line)
            let limit = Self.maximumBytes + (isOutput ? 0 : Self.reservedBytes)
            if state.bytes + Int64(bytes.count + content.count + 1) > limit {
                guard isOutput else { break }
                state.full = true
                bytes += Array(" !     The log of this build is longer than 32 MiB; the rest was dropped.\n".utf8)
            } else {
                bytes += content
                bytes.append(UInt8(ascii: "\n"))
            }
        }
        if !bytes.isEmpty {
            if mkdir(directory, 0o700) != 0 && errno != EEXIST { throw failure("make the folder of", directory) }
            try write(bytes, to: path(build, "log"), at: state.bytes)
        }
        state.bytes += Int64(bytes.count)
        if let cursor { state.cursor = cursor }
        try replaceState(build, state)
    }

    private func readNow(_ build: BuildID, _ position: BuildLogPosition, _ limit: Int) throws(PaaSError) -> (
        lines: [String], next: BuildLogPosition
    ) {
        let state = try state(build)
        guard position.offset < state.bytes, limit > 0 else { return ([], position) }
        let file = open(path(build, "log"), O_RDONLY | O_CLOEXEC)
        guard file >= 0 else { throw failure("open", path(build, "log")) }
        defer { close(file) }
        // Large enough for several of the longest lines.
        var buffer = [UInt8](repeating: 0, count: Int(min(state.bytes - position.offset, 256 << 10)))
        let count = pread(file, &buffer, buffer.count, off_t(position.offset))
        guard count >= 0 else { throw failure("read", path(build, "log")) }
        var next = position
        var lines: [String] = []
        var start = 0
        while lines.count < limit, let end = buffer[start..<count].firstIndex(of: UInt8(ascii: "\n")) {
            lines.append(String(decoding: buffer[start..<end], as: UTF8.self))
            start = end + 1
            next.line += 1
        }
        next.offset += Int64(start)
        return (lines, next)
    }

    private func state(_ build: BuildID) throws(PaaSError) -> State {
        let file = open(path(build, "state"), O_RDONLY | O_CLOEXEC)
        guard file >= 0 else {
            if errno == ENOENT { return State() }
            throw failure("open", path(build, "state"))
        }
        defer { close(file) }
        var buffer = [UInt8](repeating: 0, count: 64 << 10)
        let count = Glibc.read(file, &buffer, buffer.count)
        guard count >= 0 else { throw failure("read", path(build, "state")) }
        do {
            return try JSONDecoder().decode(State.self, from: Data(buffer[..<count]))
        } catch {
            // Damaged, as by a disk: the log's own lines are still worth reading.
            return State(bytes: try wholeLines(build))
        }
    }

    /// How many bytes of the log end with a newline.
    private func wholeLines(_ build: BuildID) throws(PaaSError) -> Int64 {
        let file = open(path(build, "log"), O_RDONLY | O_CLOEXEC)
        guard file >= 0 else {
            if errno == ENOENT { return 0 }
            throw failure("open", path(build, "log"))
        }
        defer { close(file) }
        var end = Int64(lseek(file, 0, SEEK_END))
        var buffer = [UInt8](repeating: 0, count: Self.maximumLineBytes)
        while end > 0 {
            let start = max(0, end - Int64(buffer.count))
            let count = pread(file, &buffer, Int(end - start), off_t(start))
            guard count > 0 else { throw failure("read", path(build, "log")) }
            if let newline = buffer[..<count].lastIndex(of: UInt8(ascii: "\n")) { return start + Int64(newline) + 1 }
            end = start
        }
        return 0
    }

    private func replaceState(_ build: BuildID, _ state: State) throws(PaaSError) {
        let data: Data
        do { data = try JSONEncoder().encode(state) } catch {
            throw PaaSError(.internal, "the state of a build log can't be written", cause: error)
        }
        if mkdir(directory, 0o700) != 0 && errno != EEXIST { throw failure("make the folder of", directory) }
        let temporary = path(build, "state.new")
        try write(Array(data), to: temporary, at: 0, truncate: true, sync: true)
        guard rename(temporary, path(build, "state")) == 0 else { throw failure("rename", temporary) }
    }

    private func write(
        _ bytes: [UInt8], to path: String, at offset: Int64, truncate: Bool = false, sync: Bool = false
    ) throws(PaaSError) {
        let file = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | (truncate ? O_TRUNC : 0), 0o600)
        guard file >= 0 else { throw failure("open", path) }
        defer { close(file) }
        var done = 0
        while done < bytes.count {
            let count = bytes.withUnsafeBytes {
                pwrite(file, $0.baseAddress?.advanced(by: done), bytes.count - done, off_t(offset) + off_t(done))
            }
            if count < 0 && errno == EINTR { continue }
            guard count > 0 else { throw failure("write", path) }
            done += count
        }
        // A rename that is durable before what it names would leave an empty file after a power cut.
        if sync, fdatasync(file) != 0 { throw failure("sync", path) }
    }

    /// One line without its end, at most `maximumLineBytes`. Carriage returns are progress bars: only the last state is kept.
    static func clean(_ line: String) -> [UInt8] {
        var bytes = Array(line.utf8)[...]
        while let last = bytes.last, last == UInt8(ascii: "\n") || last == UInt8(ascii: "\r") {
            bytes = bytes.dropLast()
        }
        if let progress = bytes.lastIndex(of: UInt8(ascii: "\r")) { bytes = bytes[(progress + 1)...] }
        if bytes.count > maximumLineBytes { bytes = bytes.prefix(maximumLineBytes - 3) + Array("…".utf8) }
        return bytes.map { $0 == UInt8(ascii: "\n") ? UInt8(ascii: " ") : $0 }
    }
}
