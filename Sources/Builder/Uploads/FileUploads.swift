import Domain
import Glibc
import Synchronization

/// Archives as files of one folder: `<build>.tar`, and `<build>.part` while they come in.
public final class FileUploads: UploadStore {
    /// How many come in at once: each may fill as much disk as the limit allows.
    public static let maximumOpen = 16
    /// An upload that has been silent for so long makes room for another one.
    public static let idleLimit = Duration.seconds(60)

    /// An upload that has taken so long makes room as a silent one does, however it trickles.
    public static let longest = Duration.seconds(2 * 3600)
    /// Free space that uploads leave on the disk, in bytes: the database is on it.
    public static let reserveBytes: Int64 = 2 << 30

    private struct Open {
        var app: AppID
        let began = ContinuousClock.now
        var lastWrite: ContinuousClock.Instant
    }
    private struct State {
        var open: [BuildID: Open] = [:]
        /// Begun by this process.
        var own: Set<BuildID> = []
    }

    private let directory: String
    private let limitBytes: Int64
    private let idleLimit: Duration
    private let longest: Duration
    fileprivate let reserveBytes: Int64
    private let state = Mutex(State())
    private let thread = SerialThread()

    /// - Parameters:
    ///   - directory: is made (0700) unless it is there.
    ///   - limitBytes: of one archive.
    ///   - idleLimit: see `FileUploads.idleLimit`.
    ///   - longest: see `FileUploads.longest`.
    ///   - reserveBytes: see `FileUploads.reserveBytes`.
    public init(
        directory: String, limitBytes: Int64, idleLimit: Duration = FileUploads.idleLimit,
        longest: Duration = FileUploads.longest, reserveBytes: Int64 = FileUploads.reserveBytes
    ) {
        self.directory = directory
        self.limitBytes = limitBytes
        self.idleLimit = idleLimit
        self.longest = longest
        self.reserveBytes = reserveBytes
    }

    public func begin(app: AppID) async throws(PaaSError) -> any SourceUpload {
        let build = BuildID.random()
        let (isFull, given) = state.withLock { state -> (Bool, [BuildID]) in
            let now = ContinuousClock.now
            let given = state.open.filter {
                $0.value.app == app || now - $0.value.lastWrite > idleLimit || now - $0.value.began > longest
            }.map(\.key)
            for id in given { state.open[id] = nil }
            if state.open.count >= Self.maximumOpen { return (true, given) }
            state.open[build] = Open(app: app, lastWrite: now)
            state.own.insert(build)
            return (false, given)
        }
        // What was given up is removed by its own writer, who may be in the midst of a write; or here, if that one is silent.
        for id in given { try await removeFiles(id, ["part"]) }
        if isFull {
            throw PaaSError(.unavailable, "\(Self.maximumOpen) uploads are coming in; try again in a minute")
        }
        do throws(PaaSError) {
            return try await thread.run { [self] () throws(PaaSError) in
                if mkdir(directory, 0o700) != 0 && errno != EEXIST { throw Self.failure("make the folder", directory) }
                let path = path(build, "part")
                let file = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0o600)
                guard file >= 0 else { throw Self.failure("make", path) }
                return FileUpload(build: build, file: file, limitBytes: limitBytes, owner: self)
            }
        } catch {
            ended(build)
            throw error
        }
    }

    public func remove(_ build: BuildID) async throws(PaaSError) {
        try await removeFiles(build, ["tar", "part"])
        state.withLock { state in _ = state.own.remove(build) }
    }

    public func leftovers() async throws(PaaSError) -> [BuildID] {
        let found = try await thread.run { [directory] () throws(PaaSError) -> [BuildID] in
            guard let stream = opendir(directory) else {
                if errno == ENOENT { return [] }
                throw Self.failure("list", directory)
            }
            defer { closedir(stream) }
            var found: Set<BuildID> = []
            while let entry = readdir(stream) {
                let name = withUnsafeBytes(of: &entry.pointee.d_name) {
                    String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self)
                }
                for suffix in [".tar", ".part"] where name.hasSuffix(suffix) {
                    if let id = BuildID(name.dropLast(suffix.count)) { found.insert(id) }
                }
            }
            return Array(found)
        }
        let own = state.withLock { $0.own }
        return found.filter { !own.contains($0) }
    }

    // MARK: For the uploads

    /// - Throws: `conflict` for one that was given up.
    fileprivate func touched(_ build: BuildID) throws(PaaSError) {
        let isOpen = state.withLock { state in
            guard state.open[build] != nil else { return false }
            state.open[build]?.lastWrite = .now
            return true
        }
        guard isOpen else {
            throw PaaSError(.conflict, "this upload was given up: it took too long, or a later one took its place")
        }
    }

    /// - Throws: `unavailable` before the disk is so full that the database would suffer.
    fileprivate func requireRoom(for count: Int, _ file: Int32) throws(PaaSError) {
        var space = statvfs()
        guard fstatvfs(file, &space) == 0 else { throw Self.failure("look at the disk of", directory) }
        let free = Int64(clamping: UInt64(space.f_bavail) * UInt64(space.f_frsize))
        guard free - Int64(count) >= reserveBytes else {
            throw PaaSError(
                .unavailable, "the platform's disk is nearly full; try again later, or tell its operator",
                source: .platform)
        }
    }

    fileprivate func ended(_ build: BuildID) { state.withLock { $0.open[build] = nil } }

    fileprivate func completed(_ build: BuildID) throws(PaaSError) {
        let (part, whole) = (path(build, "part"), path(build, "tar"))
        guard rename(part, whole) == 0 else { throw Self.failure("rename", part) }
        let folder = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard folder >= 0 else { throw Self.failure("open", directory) }
        defer { close(folder) }
        guard fsync(folder) == 0 else { throw Self.failure("sync", directory) }
    }

    private func path(_ build: BuildID, _ kind: String) -> String { "\(directory)/\(build).\(kind)" }

    private func removeFiles(_ build: BuildID, _ kinds: [String]) async throws(PaaSError) {
        try await thread.run { [self] () throws(PaaSError) in
            for kind in kinds {
                let path = path(build, kind)
                if unlink(path) != 0 && errno != ENOENT { throw Self.failure("remove", path) }
            }
        }
    }

    fileprivate static func failure(_ what: String, _ path: String) -> PaaSError {
        let number = errno
        if number == ENOSPC || number == EDQUOT {
            return PaaSError(
                .unavailable, "the platform's disk is full; ask the operator, or send a smaller archive",
                source: .platform)
        }
        return PaaSError(.internal, "can't \(what) the upload \(path): \(String(cString: strerror(number)))")
    }
}

/// One archive that comes in. Its bytes are written by a thread of its own, in order.
private final class FileUpload: SourceUpload {
    let build: BuildID
    private let limitBytes: Int64
    private let owner: FileUploads
    private let thread = SerialThread()

    private struct State {
        /// Nil once it has ended.
        var file: Int32?
        var bytes: Int64 = 0
    }
    private let state: Mutex<State>

    init(build: BuildID, file: Int32, limitBytes: Int64, owner: FileUploads) {
        self.build = build
        self.limitBytes = limitBytes
        self.owner = owner
        state = Mutex(State(file: file))
    }

    deinit { state.withLock { if let file = $0.file { close(file) } } }

    func write(_ bytes: [UInt8]) async throws(PaaSError) {
        try owner.touched(build)
        try await thread.run { [self] () throws(PaaSError) in
            let (file, total) = state.withLock { state in
                state.bytes += Int64(bytes.count)
                return (state.file, state.bytes)
            }
            guard let file else { throw PaaSError(.internal, "an upload was written to after its end") }
            guard total <= limitBytes else {
                throw PaaSError(
                    .tooLarge,
                    "the archive is larger than the \(BuildWords.size(limitBytes)) allowed; leave out what the build does not need, or ask the operator for a larger PAAS_CHECKOUT_LIMIT_BYTES"
                )
            }
            try owner.requireRoom(for: bytes.count, file)
            var done = 0
            while done < bytes.count {
                let count = bytes.withUnsafeBytes {
                    Glibc.write(file, $0.baseAddress?.advanced(by: done), bytes.count - done)
                }
                if count < 0 && errno == EINTR { continue }
                guard count > 0 else { throw FileUploads.failure("write", "\(build)") }
                done += count
            }
        }
    }

    func finish() async throws(PaaSError) {
        try owner.touched(build)
        try await thread.run { [self] () throws(PaaSError) in
            let (file, bytes) = state.withLock { state in
                defer { state.file = nil }
                return (state.file, state.bytes)
            }
            guard let file else { throw PaaSError(.internal, "an upload was finished twice") }
            defer { close(file) }
            guard bytes > 0 else { throw PaaSError(.malformed, "the archive is empty; send a tar file as the body") }
            guard fdatasync(file) == 0 else { throw FileUploads.failure("sync", "\(build)") }
            try owner.completed(build)
        }
        owner.ended(build)
    }

    func discard() async {
        owner.ended(build)
        let file = state.withLock { state in
            defer { state.file = nil }
            return state.file
        }
        if let file { close(file) }
        do throws(PaaSError) {
            try await owner.remove(build)
        } catch {
            // It is no build's: the next start removes it.
        }
    }
}
