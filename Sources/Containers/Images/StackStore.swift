import Crypto
import Domain
import Glibc
import Logging
import OS
import Synchronization

/// Stacks on disk: `<data>/stacks/<name>/<digest>/{run,build}.erofs`, and a link `current` to the folder in use.
final class StackStore: Sendable {
    private let directory: String
    private let definitions: String
    private let reach: OutsideReach
    private let work: HostWork
    private let logger: Logger

    /// - Parameters:
    ///   - directory: where images are.
    ///   - definitions: the folder with `build`, `hooks` and a folder for each stack.
    ///   - reach: how the archive is reached that it is made from.
    init(directory: String, definitions: String, reach: OutsideReach, work: HostWork, logger: Logger) {
        self.reach = reach
        self.directory = directory
        self.definitions = definitions
        self.work = work
        self.logger = logger
    }

    /// Removes what a build that was killed left behind.
    func start() throws(PaaSError) {
        try ImageFailure.wrap("can't clean up stacks") { () throws(SystemError) in
            try Files.makeDirectories(directory, mode: 0o700)
            try Files.setMode(directory, 0o700)
            for name in try Files.list(directory) where !name.hasPrefix(".") {
                guard let lock = try acquire(name) else { continue }
                for entry in try Files.list("\(directory)/\(name)")
                where entry.hasPrefix(".work") || entry.contains(".tmp.") {
                    try Files.removeTree("\(directory)/\(name)/\(entry)")
                }
                _ = lock.raw
            }
        }
    }

    /// The image in use and the name of its shared mount.
    func image(_ name: String, _ kind: StackKind) throws(PaaSError) -> (path: String, mountName: String) {
        try Names.validate(name, "stack")
        guard let folder = try current(name) else {
            throw PaaSError(
                .notFound, "the stack \(name) is not on this host; make it with: paasctl stacks build \(name)",
                source: .client)
        }
        return ("\(directory)/\(name)/\(folder)/\(kind.rawValue).erofs", "stack-\(name)-\(folder)-\(kind.rawValue)")
    }

    func list() throws(PaaSError) -> [StackInfo] {
        let names = try ImageFailure.wrap("can't list the stacks") { () throws(SystemError) in
            let made = try Files.list(directory).filter { !$0.hasPrefix(".") }
            let defined = try Files.list(definitions).filter { Files.exists("\(definitions)/\($0)/stack.conf") }
            return Set(made).union(defined).sorted()
        }
        var stacks: [StackInfo] = []
        for name in names { stacks.append(try info(name)) }
        return stacks
    }

    private func info(_ name: String) throws(PaaSError) -> StackInfo {
        let building = try ImageFailure.wrap("can't look at the stack \(name)") { () throws(SystemError) in
            guard Files.exists("\(directory)/\(name)") else { return false }
            if let lock = try acquire(name) {
                _ = lock.raw
                return false
            }
            return true
        }
        guard let folder = try current(name) else {
            return StackInfo(
                name: name, state: building ? .building : .missing, runImageBytes: nil, buildImageBytes: nil,
                digest: nil)
        }
        return try ImageFailure.wrap("can't look at the stack \(name)") { () throws(SystemError) in
            let base = "\(directory)/\(name)/\(folder)"
            return StackInfo(
                name: name, state: .ready, runImageBytes: Self.size(base + "/run.erofs"),
                buildImageBytes: Self.size(base + "/build.erofs"), digest: try Files.readText(base + "/digest"))
        }
    }

    /// Whether the stack in use was made from the definition as it is now. False also if there is none, or if it is from before
    /// this was noted.
    func isUpToDate(_ name: String) throws(PaaSError) -> Bool {
        guard try current(name) != nil else { return false }
        let made = try ImageFailure.wrap("can't look at the stack \(name)") { () throws(SystemError) in
            try Files.readText(definitionFile(name))
        }
        return try made == StackDefinition(folder: definitions, name: name, reach: reach).stamp()
    }

    /// The stamp of the definition that the stack in use was made from.
    private func definitionFile(_ name: String) -> String { "\(directory)/\(name)/.definition" }

    /// Removes images that a newer one has replaced and that no container uses any more.
    /// - Parameter release: whether the shared mount of this name has no users (any more).
    func removeReplaced(release: (String) throws(PaaSError) -> Bool) throws(PaaSError) {
        let names = try ImageFailure.wrap("can't list the stacks") { () throws(SystemError) in
            try Files.list(directory).filter { !$0.hasPrefix(".") }
        }
        for name in names {
            guard let folder = try current(name) else { continue }
            let lock = try ImageFailure.wrap("can't look at the stack \(name)") { () throws(SystemError) in
                try acquire(name)?.release()
            }
            guard let lock else { continue }
            let held = OwnedFD(lock)
            try removeOld(name, keeping: folder, release: release)
            _ = held.raw
        }
    }

    /// Makes the stack anew; the one in use stays until the new one is complete on disk. Takes minutes.
    /// - Parameters:
    ///   - progress: gets a line at each step.
    ///   - inUse: whether the shared mount of this name has users; folders of images in use are kept.
    func build(_ name: String, progress: (String) -> Void, release: (String) throws(PaaSError) -> Bool)
        throws(PaaSError)
    {
        try Names.validate(name, "stack")
        guard Files.exists("\(definitions)/\(name)/stack.conf") else {
            let known = try ImageFailure.wrap("can't list the stacks") { () throws(SystemError) in
                try Files.list(definitions).filter { Files.exists("\(definitions)/\($0)/stack.conf") }
            }
            throw PaaSError(
                .notFound, "there is no stack \(name); defined are: \(known.joined(separator: ", "))")
        }
        let home = "\(directory)/\(name)"
        let packages = "\(directory)/.packages-\(name)"
        let held = try ImageFailure.wrap("can't prepare the stack \(name)") { () throws(SystemError) -> Int32? in
            try Files.makeDirectories(directory, mode: 0o700)
            try Files.makeDirectories(home, mode: 0o700)
            try Files.makeDirectories(packages, mode: 0o700)
            return try acquire(name)?.release()
        }
        guard let held else {
            throw PaaSError(
                .conflict, "the stack \(name) is being built already; wait for it (paasctl stacks shows it)")
        }
        let lock = OwnedFD(held)
        let work = "\(home)/.work.\(getpid())"
        defer {
            do throws(SystemError) {
                try Files.removeTree(work)
            } catch {
                logger.warning("can't remove \(work)", metadata: ["error": "\(error)"])
            }
        }
        try ImageFailure.wrap("can't prepare the stack \(name)") { () throws(SystemError) in
            try Files.removeTree(work)
            try Files.makeDirectories(work, mode: 0o700)
        }
        // As it is now: it may change while the stack is made.
        let stamp = try StackDefinition(folder: definitions, name: name, reach: reach).stamp()
        // The operator's own definition: as large as it is.
        try self.work.run("can't make the stack \(name)", limited: false) { (group) throws(PaaSError) in
            try StackScript(path: definitions + "/build", reach: reach).run(
                name: name, output: work, cache: packages, lock: lock, in: group, progress: progress)
        }
        let folder = try publish(name: name, work: work)
        try ImageFailure.wrap("can't store the stack \(name)") { () throws(SystemError) in
            try Files.writeDurably(definitionFile(name), Array("\(stamp)\n".utf8), mode: 0o400)
        }
        progress("\(name): ready (\(folder))")
        try removeOld(name, keeping: folder, release: release)
    }

    // MARK: - Steps

    /// - Returns: the folder that is current now.
    private func publish(name: String, work: String) throws(PaaSError) -> String {
        try ImageFailure.wrap("can't store the stack \(name)") { () throws(SystemError) in
            let home = "\(directory)/\(name)"
            var lines = ""
            for kind in ["run", "build"] {
                let file = try OwnedFD.open("\(work)/\(kind).erofs", O_RDONLY | O_NOFOLLOW)
                try Files.setMode("\(work)/\(kind).erofs", 0o400)
                try file.sync()
                lines += "\(kind) \(try SlugStore.checksum(file))\n"
            }
            let digest = SlugStore.hex(SHA256.hash(data: Array(lines.utf8)))
            let folder = String(digest.prefix(16))
            if !Files.exists("\(home)/\(folder)") {
                let new = "\(work)/new"
                try Files.makeDirectories(new, mode: 0o700)
                for kind in ["run", "build"] { try Files.rename("\(work)/\(kind).erofs", "\(new)/\(kind).erofs") }
                try Files.writeDurably(new + "/digest", Array("sha256:\(digest)\n".utf8), mode: 0o400)
                try Files.rename(new, "\(home)/\(folder)")
                try Files.syncFolder(of: "\(home)/\(folder)")
            }
            let pointer = "\(home)/current.tmp.\(getpid())"
            try Files.remove(pointer)
            try Syscall.check("symlink \(pointer)") { symlink(folder, pointer) }
            try Files.rename(pointer, "\(home)/current")
            try Files.syncFolder(of: "\(home)/current")
            return folder
        }
    }

    private func removeOld(_ name: String, keeping folder: String, release: (String) throws(PaaSError) -> Bool)
        throws(PaaSError)
    {
        let home = "\(directory)/\(name)"
        let old = try ImageFailure.wrap("can't list \(home)") { () throws(SystemError) in
            try Files.list(home).filter { $0 != folder && $0 != "current" && !$0.hasPrefix(".") }
        }
        for other in old {
            var free = true
            for kind in ["run", "build"] where try !release("stack-\(name)-\(other)-\(kind)") { free = false }
            guard free else { continue }
            try ImageFailure.wrap("can't remove an old stack") { () throws(SystemError) in
                try Files.removeTree("\(home)/\(other)")
            }
        }
    }

    private func current(_ name: String) throws(PaaSError) -> String? {
        try ImageFailure.wrap("can't look at the stack \(name)") { () throws(SystemError) in
            var buffer = [CChar](repeating: 0, count: 256)
            let length = readlink("\(directory)/\(name)/current", &buffer, buffer.count)
            if length < 0 {
                if errno == ENOENT { return nil }
                throw SystemError.last("readlink \(name)/current")
            }
            let folder = String(decoding: buffer.prefix(length).map { UInt8(bitPattern: $0) }, as: UTF8.self)
            guard !folder.contains("/"), !folder.hasPrefix(".") else {
                throw SystemError("\(directory)/\(name)/current points elsewhere", errno: EINVAL)
            }
            return folder
        }
    }

    /// Nil if another process builds this stack.
    private func acquire(_ name: String) throws(SystemError) -> OwnedFD? {
        let file = try OwnedFD.open("\(directory)/\(name)/.lock", O_RDWR | O_CREAT | O_NOFOLLOW)
        let raw = file.raw
        do throws(SystemError) {
            try Syscall.check("flock") { flock(raw, LOCK_EX | LOCK_NB) }
        } catch {
            if error.errno == EWOULDBLOCK { return nil }
            throw error
        }
        return file
    }

    private static func size(_ path: String) -> Int64? {
        var info = stat()
        return lstat(path, &info) == 0 ? Int64(info.st_size) : nil
    }
}
