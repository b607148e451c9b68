import CShim
import Domain
import FoundationEssentials
import Glibc
import Logging
import OS

/// Volumes to build in: sparse ext4 images under `<data>/builds`, mounted under `<run>/builds`. The size of the image is the
/// build's disk limit. A tenant reaches them through files only, never as a device.
///
/// A volume is prepared under a temporary name and appears at once; every step may be repeated, but not at the same time for
/// the same build.
final class BuildVolumes: Sendable {
    private let imagesDirectory: String
    private let cachesDirectory: String
    private let mountsDirectory: String
    private let checkoutUser: String
    private let disk: HostDisk
    private let work: HostWork
    private let logger: Logger

    /// - Parameter checkoutUser: the host's user that checks sources out.
    init(
        dataDirectory: String, runDirectory: String, checkoutUser: String, disk: HostDisk, work: HostWork,
        logger: Logger
    ) {
        imagesDirectory = dataDirectory + "/builds"
        cachesDirectory = dataDirectory + "/caches"
        mountsDirectory = runDirectory + "/builds"
        self.checkoutUser = checkoutUser
        self.disk = disk
        self.work = work
        self.logger = logger
    }

    /// Folders of a volume that no other build sees.
    private static let emptied = ["app", "layers", "tmp", "result"]

    func volume(_ build: BuildID) -> String { "\(mountsDirectory)/\(build)" }

    func image(_ build: BuildID) -> String { "\(imagesDirectory)/\(build).img" }

    /// Bytes that its files take up.
    func usedBytes(_ build: BuildID) throws(PaaSError) -> Int64 {
        try requireMounted(build)
        var space = statvfs()
        try ImageFailure.wrap("can't look at the build volume") { () throws(SystemError) in
            try Syscall.check("statvfs") { statvfs(volume(build), &space) }
        }
        return Int64(clamping: UInt64(space.f_blocks - space.f_bfree) * UInt64(space.f_frsize))
    }

    private func cacheImage(_ app: AppID) -> String { "\(cachesDirectory)/\(app).img" }

    /// Makes the folders, removes half-made images, unmounts volumes without an image.
    func start() throws(PaaSError) {
        let user = ProcessSpec.User.named(checkoutUser)
        try ImageFailure.wrap("can't clean up build volumes") { () throws(SystemError) in
            for folder in [imagesDirectory, cachesDirectory] {
                try Files.makeDirectories(folder, mode: 0o700)
                try Files.setMode(folder, 0o700)
                for name in try Files.list(folder) where name.contains(".new") { try Files.remove("\(folder)/\(name)") }
            }
            try Files.makeDirectories(mountsDirectory, mode: 0o710)
            try Files.setOwner(mountsDirectory, uid: 0, gid: user?.gid ?? 0)
            // The app's uid walks through as well, when its tree is packed.
            try Files.setMode(mountsDirectory, 0o711)
            let images = Set(try Files.list(imagesDirectory))
            for name in try Files.list(mountsDirectory) where !images.contains(name + ".img") {
                try unmount("\(mountsDirectory)/\(name)", lazily: true)
                if rmdir("\(mountsDirectory)/\(name)") != 0 { throw SystemError.last("rmdir \(name)") }
            }
        }
    }

    func list() throws(PaaSError) -> [BuildID] {
        try ImageFailure.wrap("can't list build volumes") { () throws(SystemError) in
            try Files.list(imagesDirectory).compactMap { name in
                name.hasSuffix(".img") ? BuildID(name.dropLast(".img".count)) : nil
            }
        }
    }

    func create(build: BuildID, app: AppID, owner: uid_t, sizeBytes: Int64, clearCache: Bool) throws(PaaSError)
        -> String
    {
        guard let user = ProcessSpec.User.named(checkoutUser) else {
            throw PaaSError(
                .unavailable, "this host has no user \(checkoutUser); run bin/up again, which makes it",
                source: .platform, retry: .never)
        }
        if !Files.exists(image(build)) {
            try makeImage(build: build, app: app, sizeBytes: sizeBytes, clearCache: clearCache)
        }
        let paths = BuildPaths(volume: volume(build))
        try mount(build)
        try ImageFailure.wrap("can't prepare the build volume") { () throws(SystemError) in
            let root = try OwnedFD.open(volume(build), O_RDONLY | O_DIRECTORY)
            if let found = try self.owner(of: paths.cache), found != owner {
                logger.warning(
                    "the build cache belongs to another uid range; starting empty", metadata: ["app": "\(app)"])
                try FolderTree.remove("cache", in: root)
            }
            // Unless it was sealed: then the call is a late repetition.
            if try self.owner(of: paths.app) != owner {
                for name in Self.emptied { try FolderTree.remove(name, in: root) }
                try make(paths.app, user.uid, user.gid, 0o700)
            }
            for path in [paths.cache, paths.layers, paths.tmp, paths.result] { try make(path, owner, owner, 0o700) }
            try Files.setMode(volume(build), 0o711)
        }
        return paths.app
    }

    func seal(build: BuildID, owner: uid_t) throws(PaaSError) {
        try work.runOwn(for: build) { (isWanted) throws(PaaSError) in
            try seal(build: build, owner: owner, while: isWanted)
        }
    }

    private func seal(build: BuildID, owner: uid_t, while isWanted: () -> Bool) throws(PaaSError) {
        let app = try open(build, "app")
        let raw = app.raw
        var info = stat()
        try ImageFailure.wrap("can't hand the source over to the build") { () throws(SystemError) in
            try Syscall.check("fstat") { fstat(raw, &info) }
            if info.st_uid == owner { return }
            // From here on the checkout's user is locked out.
            try Syscall.check("chown") { fchown(raw, 0, 0) }
            try Syscall.check("chmod") { fchmod(raw, 0o700) }
        }
        if info.st_uid == owner { return }
        try FolderTree.giveAway(app, uid: owner, gid: owner, while: isWanted)
    }

    /// `name` is one folder of the volume.
    func open(_ build: BuildID, _ name: String) throws(PaaSError) -> OwnedFD {
        try requireMounted(build)
        return try ImageFailure.wrap("can't open the build volume") { () throws(SystemError) in
            let root = try OwnedFD.open(volume(build), O_RDONLY | O_DIRECTORY)
            return try FolderTree.open(root, Array(name.utf8), O_RDONLY | O_DIRECTORY)
        }
    }

    func read(build: BuildID, path: String, limit: Int) throws(PaaSError) -> [UInt8]? {
        try requireMounted(build)
        func refused(_ what: String) -> PaaSError {
            PaaSError(.invalid, "\(Names.quoted(path)) is \(what); it must be a regular file", source: .app)
        }
        let root = try ImageFailure.wrap("can't open the build volume") { () throws(SystemError) in
            try OwnedFD.open(volume(build), O_RDONLY | O_DIRECTORY)
        }
        guard !path.isEmpty, path.utf8.count <= FolderTree.pathLimit, !path.utf8.contains(0) else {
            throw PaaSError(.invalid, "not a path in a build volume: \(Names.quoted(path))")
        }
        do throws(SystemError) {
            // Without O_NONBLOCK a named pipe would hold us up.
            let file = try FolderTree.open(root, Array(path.utf8), O_RDONLY | O_NONBLOCK | O_NOCTTY)
            let raw = file.raw
            var info = stat()
            try Syscall.check("fstat") { fstat(raw, &info) }
            guard info.st_mode & S_IFMT == S_IFREG else { throw SystemError("type of \(path)", errno: EISDIR) }
            return try file.readFully(min(limit, Int(info.st_size)))
        } catch {
            switch error.errno {
            case ENOENT, ENOTDIR: return nil
            case ELOOP: throw refused("a link, or lies behind one")
            case EISDIR, ENXIO: throw refused("a folder or a special file")
            case EXDEV: throw refused("outside the build volume")
            default: throw error.asPaaSError("can't read \(Names.quoted(path)) of the build")
            }
        }
    }

    func finish(build: BuildID, app: AppID, keepCache: Bool) throws(PaaSError) {
        guard Files.exists(image(build)) else { return }
        let mounted = try isMounted(build)
        if keepCache && !mounted {
            // After a crash of the host: without a journal its contents can't be trusted.
            logger.warning("build volume is not mounted; its cache is not kept", metadata: ["build": "\(build)"])
        }
        var keep = keepCache && mounted
        if keep { keep = try reduceToCache(build: build, app: app) }
        try ImageFailure.wrap("can't finish the build volume") { () throws(SystemError) in
            try unmount(volume(build), lazily: !keep)
            if rmdir(volume(build)) != 0 && errno != ENOENT { throw SystemError.last("rmdir \(volume(build))") }
            if keep {
                let file = try OwnedFD.open(image(build), O_RDWR)
                try file.sync()
                try Files.rename(image(build), cacheImage(app))
                try Files.syncFolder(of: cacheImage(app))
            } else {
                try Files.remove(image(build))
            }
            try Files.syncFolder(of: image(build))
        }
    }

    func listCaches() throws(PaaSError) -> [BuildCache] {
        try ImageFailure.wrap("can't list the build caches") { () throws(SystemError) in
            try Files.list(cachesDirectory).compactMap { name in
                var info = stat()
                guard name.hasSuffix(".img"), let app = AppID(name.dropLast(".img".count)),
                    lstat("\(cachesDirectory)/\(name)", &info) == 0
                else { return nil }
                return BuildCache(app: app, bytes: Int64(info.st_blocks) * 512)
            }
        }
    }

    func removeCache(app: AppID) throws(PaaSError) {
        try ImageFailure.wrap("can't remove the build cache") { () throws(SystemError) in
            try Files.remove(cacheImage(app))
            try Files.syncFolder(of: cacheImage(app))
        }
    }

    func unmountAll() throws(PaaSError) {
        try ImageFailure.wrap("can't unmount build volumes") { () throws(SystemError) in
            for name in try Files.list(mountsDirectory) {
                try unmount("\(mountsDirectory)/\(name)", lazily: true)
                rmdir("\(mountsDirectory)/\(name)")
            }
        }
    }

    // MARK: - Steps

    private func makeImage(build: BuildID, app: AppID, sizeBytes: Int64, clearCache: Bool) throws(PaaSError) {
        // A name of its own: whatever a killed engine started on it before writes elsewhere.
        let new = "\(image(build)).new.\(UUID().uuidString.lowercased())"
        defer { unlink(new) }
        try disk.withRoom(for: sizeBytes, at: new) { () throws(PaaSError) in
            try work.run("can't make the build volume", for: build) { (group) throws(PaaSError) in
                try fill(new, app: app, sizeBytes: sizeBytes, clearCache: clearCache, group)
            }
            try ImageFailure.wrap("can't make the build volume") { () throws(SystemError) in
                try Files.rename(new, image(build))
                try Files.syncFolder(of: image(build))
            }
        }
    }

    private func fill(_ new: String, app: AppID, sizeBytes: Int64, clearCache: Bool, _ group: HostWork.Group)
        throws(PaaSError)
    {
        var ready = false
        if !clearCache { ready = try takeCache(app: app, to: new, sizeBytes: sizeBytes, group) }
        if !ready {
            try ImageFailure.wrap("can't make the build volume") { () throws(SystemError) in
                try Files.remove(new)
                let file = try OwnedFD.open(new, O_RDWR | O_CREAT | O_EXCL)
                let raw = file.raw
                try Syscall.check("ftruncate") { ftruncate(raw, off_t(sizeBytes)) }
            }
            // No journal: a volume lives as long as a build, and what is kept of it was unmounted cleanly. The image is
            // all holes, so inode tables need not be zeroed.
            try ImageFailure.run(
                "can't make the build volume", "/usr/sbin/mkfs.ext4",
                [
                    "-q", "-F", "-m", "0", "-i", "8192", "-O", "^has_journal,^resize_inode", "-E",
                    "nodiscard,assume_storage_prezeroed=1,root_owner=0:0", new,
                ], in: group)
        }
    }

    /// - Returns: false if there is no cache that can be used.
    private func takeCache(app: AppID, to new: String, sizeBytes: Int64, _ group: HostWork.Group) throws(PaaSError)
        -> Bool
    {
        let cache = cacheImage(app)
        var info = stat()
        guard lstat(cache, &info) == 0, info.st_mode & S_IFMT == S_IFREG else { return false }
        guard Int64(info.st_size) == sizeBytes else {
            logger.warning(
                "the build cache has another size than PAAS_BUILD_DISK_BYTES asks for; starting empty",
                metadata: ["app": "\(app)"])
            return false
        }
        try ImageFailure.run(
            "can't copy the build cache", "/bin/cp", ["--sparse=always", "--reflink=auto", "--", cache, new],
            in: group, timeoutSeconds: 900)
        // 0: clean, 1: repaired.
        let check = try ImageFailure.wrap("can't check the build cache") { () throws(SystemError) in
            try Command(group.entered(ProcessSpec("/usr/sbin/e2fsck", ["-p", "-f", new])), timeoutSeconds: 900).run()
        }
        if check.status == 0 || check.status == 1 { return true }
        logger.warning(
            "the build cache is damaged; starting empty",
            metadata: ["app": "\(app)", "e2fsck": "\(check.status)", "said": "\(check.text.suffix(300))"])
        return false
    }

    private func mount(_ build: BuildID) throws(PaaSError) {
        if try isMounted(build) { return }
        try ImageFailure.wrap("can't mount the build volume") { () throws(SystemError) in
            try Files.makeDirectories(volume(build), mode: 0o711)
            let file = try OwnedFD.open(image(build), O_RDWR | O_NOFOLLOW)
            var number: Int32 = -1
            let device = OwnedFD(try Syscall.shim("loop device", slipway_loop_attach(file.raw, 0, 0, &number)))
            let flags = UInt(MS_NOSUID) | UInt(MS_NODEV) | UInt(MS_NOATIME)
            try Syscall.shim(
                "mount \(build)",
                slipway_mount("/dev/loop\(number)", volume(build), "ext4", flags, "noinit_itable,errors=remount-ro"))
            _ = device.raw
        }
    }

    /// Leaves the cache alone in the volume. - Returns: false if it is not worth keeping.
    private func reduceToCache(build: BuildID, app: AppID) throws(PaaSError) -> Bool {
        try ImageFailure.wrap("can't keep the build cache") { () throws(SystemError) in
            let root = try OwnedFD.open(volume(build), O_RDONLY | O_DIRECTORY)
            for name in Self.emptied { try FolderTree.remove(name, in: root) }
            var space = statvfs()
            try Syscall.check("statvfs") { statvfs(volume(build), &space) }
            // A cache that fills the volume would make every later build fail.
            if space.f_bfree * 2 < space.f_blocks {
                logger.warning(
                    "the build cache takes more than half of the build's disk; not kept", metadata: ["app": "\(app)"])
                return false
            }
            try Syscall.shim("trim \(build)", slipway_trim(volume(build)))
            return true
        }
    }

    private func isMounted(_ build: BuildID) throws(PaaSError) -> Bool {
        try ImageFailure.wrap("can't read the list of mounts") { () throws(SystemError) in
            try HostMount.all().contains { $0.target == volume(build) }
        }
    }

    private func requireMounted(_ build: BuildID) throws(PaaSError) {
        guard try isMounted(build) else {
            throw PaaSError(
                .notFound, "the volume of build \(build) is not there (any more); start a new build", source: .platform)
        }
    }

    /// - Parameter lazily: detach what is busy. Otherwise wait up to five seconds, then fail.
    private func unmount(_ target: String, lazily: Bool) throws(SystemError) {
        let deadline = Monotonic.now() + 5
        while true {
            let result = slipway_unmount(target, Int32(UMOUNT_NOFOLLOW))
            if result == -EINVAL || result == -ENOENT { return }
            if result == -EBUSY {
                if lazily {
                    try Syscall.shim(
                        "unmount \(target)", slipway_unmount(target, Int32(MNT_DETACH) | Int32(UMOUNT_NOFOLLOW)))
                    return
                }
                // The kernel lets go of a container's mounts a moment after its last process.
                guard Monotonic.now() < deadline else { throw SystemError("unmount \(target)", errno: EBUSY) }
                usleep(20_000)
            } else {
                try Syscall.shim("unmount \(target)", result)
            }
        }
    }

    private func owner(of path: String) throws(SystemError) -> uid_t? {
        var info = stat()
        if lstat(path, &info) == 0 { return info.st_uid }
        if errno == ENOENT { return nil }
        throw SystemError.last("lstat \(path)")
    }

    private func make(_ path: String, _ uid: uid_t, _ gid: gid_t, _ mode: mode_t) throws(SystemError) {
        if mkdir(path, mode) != 0 && errno != EEXIST { throw SystemError.last("mkdir \(path)") }
        try Files.setOwner(path, uid: uid, gid: gid)
        try Files.setMode(path, mode)
    }
}
