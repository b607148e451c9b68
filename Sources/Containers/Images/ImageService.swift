import CShim
import Domain
import Glibc
import Logging
import OS

/// Stacks, slugs and build volumes of the local engine: files under the data directory, mounts under the run directory.
///
/// Every call blocks and may come from any thread; every call may be repeated. What is mounted is read from the kernel, so a
/// new engine goes on where a killed one stopped.
public final class ImageService: Sendable {
    private let settings: Settings
    private let logger: Logger
    private let mounts: ImageMounts
    private let slugs: SlugStore
    private let stacks: StackStore
    private let volumes: BuildVolumes
    private let work: HostWork
    private let uploads: SourceUploads

    /// - Parameters:
    ///   - settings: `canonical`, as mounts are found by their paths.
    ///   - checkoutUser: the host's user that checks sources out into build volumes.
    ///   - uploadUser: whose the archives are that builds are made from: paasd's.
    ///   - packerProgram: the program that dispatches `pack-slug` to `SlugPackerCommand`; the engine itself by default.
    public init(
        settings: Settings, logger: Logger, checkoutUser: String = "paas-git", uploadUser: String = "paas",
        packerProgram: String = "/proc/self/exe"
    ) {
        self.settings = settings
        self.logger = logger
        let data = settings.dataDirectory
        let run = settings.runDirectory
        work = HostWork(
            cgroups: HostCgroups(parent: settings.hostName), memoryBytes: settings.buildMemoryBytes, logger: logger)
        let disk = HostDisk(volumesDirectory: data + "/builds")
        mounts = ImageMounts(runDirectory: run, dataDirectory: data, uidBase: settings.uidBase, logger: logger)
        slugs = SlugStore(directory: data + "/slugs", packer: packerProgram, disk: disk, work: work)
        stacks = StackStore(
            directory: data + "/stacks", definitions: settings.prefix + "/stacks", reach: settings.reach,
            work: work, logger: logger)
        uploads = SourceUploads(
            directory: settings.uploadsDirectory, user: uploadUser, limitBytes: settings.checkoutLimitBytes)
        volumes = BuildVolumes(
            dataDirectory: data, runDirectory: run, checkoutUser: checkoutUser, disk: disk, work: work, logger: logger)
    }

    /// Checks the host, makes folders, removes what a killed engine left half done. Volumes of builds stay.
    /// - Throws: `unavailable` if the kernel or a program of the host's can't do what is needed.
    public func start() throws(PaaSError) {
        try ImageMounts.checkKernel(release: Self.kernelRelease())
        for (program, package) in [
            ("/usr/bin/mkfs.erofs", "erofs-utils"), ("/usr/sbin/mkfs.ext4", "e2fsprogs"),
            ("/usr/sbin/e2fsck", "e2fsprogs"),
        ] where access(program, X_OK) != 0 {
            throw PaaSError(
                .unavailable, "\(program) is missing on this host; run: apt-get install \(package)", source: .platform,
                retry: .never)
        }
        try work.endLeftovers(all: false)
        try stacks.start()
        try slugs.start()
        try volumes.start()
        try mounts.sweep()
        // Containers that ran on an image from before have ended meanwhile.
        try stacks.removeReplaced { (mount: String) throws(PaaSError) in try mounts.release(name: mount) }
    }

    // MARK: - Mounts

    /// Mounts a stack's image read-only, nosuid, nodev, with owners shifted to the range of `uidSlot`.
    /// - Parameter at: an absolute path; made if it is not there; what is mounted there before is replaced.
    /// - Throws: `notFound` if the stack is not on this host.
    public func mountStack(_ name: String, kind: StackKind, uidSlot: Int, at target: String) throws(PaaSError) {
        let (path, mountName) = try stacks.image(name, kind)
        try mounts.attach(image: path, name: mountName, uidSlot: uidSlot, at: target)
    }

    /// The same for a slug, whose image is compared with its checksum when it is first mounted.
    /// - Throws: `notFound`; `internal` if the image is damaged.
    public func mountSlug(_ digest: SlugDigest, uidSlot: Int, at target: String) throws(PaaSError) {
        let name = SlugStore.mountName(digest)
        if try !mounts.isShared(name) { try slugs.verify(digest) }
        try mounts.attach(image: slugs.image(digest), name: name, uidSlot: uidSlot, at: target)
    }

    /// Unmounts what `mountStack` or `mountSlug` put there. Fine if nothing is.
    public func unmount(at target: String) throws(PaaSError) {
        try mounts.detach(at: target)
    }

    // MARK: - Builds

    /// Where the parts of a build's volume are while it exists.
    public func buildPaths(build: BuildID) -> BuildPaths { BuildPaths(volume: volumes.volume(build)) }

    /// See `BuildEngine`.
    /// - Returns: the path of the empty `app` folder, which belongs to the checkout's user until `sealSource`.
    public func createBuildVolume(build: BuildID, app: AppID, uidSlot: Int, sizeBytes: Int64, clearCache: Bool)
        throws(PaaSError) -> String
    {
        try volumes.create(
            build: build, app: app, owner: appUser(uidSlot), sizeBytes: sizeBytes, clearCache: clearCache)
    }

    /// See `BuildEngine`.
    public func placeSource(build: BuildID, uidSlot: Int) throws(PaaSError) {
        try work.runOwn(for: build) { (isWanted) throws(PaaSError) in
            try uploads.copy(build, to: volumes.open(build, "tmp"), owner: appUser(uidSlot), while: isWanted)
        }
    }

    /// Gives the checked-out tree to the app's uid 1000. Links are not followed.
    public func sealSource(build: BuildID, uidSlot: Int) throws(PaaSError) {
        try volumes.seal(build: build, owner: appUser(uidSlot))
    }

    /// See `BuildEngine`.
    /// - Throws: `invalid` if it is no regular file or lies behind a link.
    public func readBuildFile(build: BuildID, path: String, limit: Int) throws(PaaSError) -> [UInt8]? {
        try volumes.read(build: build, path: path, limit: limit)
    }

    /// See `BuildEngine`. Only while no process of the build lives.
    /// - Throws: `invalid` for a tree that holds what a slug can't, `tooLarge`.
    public func packSlug(build: BuildID, uidSlot: Int, limitBytes: Int64) throws(PaaSError) -> PackedSlug {
        let tree = try volumes.open(build, "app")
        return try slugs.pack(
            build: build, tree: tree, owner: appUser(uidSlot), limitBytes: limitBytes,
            usedBytes: volumes.usedBytes(build),
            volume: volumes.image(build))
    }

    /// See `BuildEngine`.
    public func abandonWork(build: BuildID) throws(PaaSError) { try work.abandon(build) }

    /// See `BuildEngine`. Fine if it is gone.
    public func finishBuildVolume(build: BuildID, app: AppID, keepCache: Bool) throws(PaaSError) {
        try volumes.finish(build: build, app: app, keepCache: keepCache)
        work.forget(build)
    }

    public func listBuildVolumes() throws(PaaSError) -> [BuildID] { try volumes.list() }

    public func listCaches() throws(PaaSError) -> [BuildCache] { try volumes.listCaches() }

    /// Removes the cache that an app's builds start from.
    public func removeCache(app: AppID) throws(PaaSError) { try volumes.removeCache(app: app) }

    // MARK: - Slugs and stacks

    public func listSlugs() throws(PaaSError) -> [SlugDigest] { try slugs.list() }

    /// Fine if it is not there.
    /// - Throws: `conflict` while it is mounted for a container.
    public func removeSlug(_ digest: SlugDigest) throws(PaaSError) {
        guard try mounts.release(name: SlugStore.mountName(digest)) else {
            throw PaaSError(.conflict, "the slug \(digest) is in use by a process; stop it first")
        }
        try slugs.remove(digest)
    }

    public func listStacks() throws(PaaSError) -> [StackInfo] { try stacks.list() }

    /// Whether the stack is there, made from its definition as it is now.
    public func isStackUpToDate(_ name: String) throws(PaaSError) -> Bool { try stacks.isUpToDate(name) }

    /// Makes a stack from its definition under `<prefix>/stacks`; the present one serves until the new one is complete.
    /// - Parameter progress: gets a line at each step.
    /// - Throws: `notFound` if there is no such definition, `conflict` while it is being built, `unavailable` with the tool's
    ///   last words.
    public func buildStack(_ name: String, progress: (String) -> Void = { _ in }) throws(PaaSError) {
        try stacks.build(name, progress: progress) { (mount: String) throws(PaaSError) in
            try mounts.release(name: mount)
        }
    }

    /// Ends programs that work on images, unmounts all images and build volumes of this platform and waits up to 5 s until
    /// their loop devices are free. Files stay.
    public func teardown() throws(PaaSError) {
        try work.endLeftovers(all: true)
        try mounts.detachAll()
        try volumes.unmountAll()
        let data = settings.dataDirectory + "/"
        let deadline = Monotonic.now() + 5
        while true {
            let left = try ImageFailure.wrap("can't look at loop devices") { () throws(SystemError) in
                try HostMount.attachedFiles().filter { $0.hasPrefix(data) }
            }
            if left.isEmpty { return }
            guard Monotonic.now() < deadline else {
                // Nothing of ours has them mounted: a program that made a mount namespace of its own meanwhile has a copy,
                // and the kernel frees the device when that program ends.
                logger.warning(
                    "loop devices are still held by another program's mount namespace; they go when it ends",
                    metadata: ["images": "\(left.joined(separator: ", "))"])
                return
            }
            usleep(20_000)
        }
    }

    // MARK: -

    private func appUser(_ uidSlot: Int) throws(PaaSError) -> uid_t { try mounts.hostBase(uidSlot) + 1000 }

    private static func kernelRelease() -> String {
        var name = utsname()
        uname(&name)
        return withUnsafeBytes(of: &name.release) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
    }
}
