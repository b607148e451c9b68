/// What the builder needs beyond running a container: a volume to build in, and a slug out of it.
public protocol BuildEngine: Sendable {
    /// Makes and mounts the volume of one build: an empty `app` directory that belongs to the checkout's user, and the
    /// app's cache as the last successful build left it. Returns the path into which the tree is to be checked out.
    func createBuildVolume(build: BuildID, app: AppID, uidSlot: Int, sizeBytes: Int64, clearCache: Bool, epoch: Int64)
        async throws(PaaSError) -> String

    /// Copies the archive that the build is made from, `<uploads>/<build>.tar`, into the volume as `tmp/source.tar`, which
    /// belongs to the app's uid range then. Between `createBuildVolume` and `ensure`; may be repeated.
    /// - Throws: `notFound` if there is none, `tooLarge` beyond `Settings.checkoutLimitBytes` or the volume's room, `invalid`
    ///   for what is no regular file of paasd's.
    func placeSource(build: BuildID, uidSlot: Int, epoch: Int64) async throws(PaaSError)

    /// Gives the checked-out tree to the app's uid range. Before `ensure`, once.
    func sealSource(build: BuildID, uidSlot: Int, epoch: Int64) async throws(PaaSError)

    /// The first `limit` bytes of a regular file in the build volume (links are not followed), nil if there is none.
    /// `path` is relative to the volume, as in `app/Procfile` or `result/detected`.
    func readBuildFile(build: BuildID, path: String, limit: Int) async throws(PaaSError) -> [UInt8]?

    /// Packs `app` of a build volume in which no process lives: links not followed, devices and sockets refused, setuid and
    /// file capabilities stripped; canonical digest, EROFS image, fsync, rename.
    func packSlug(build: BuildID, uidSlot: Int, limitBytes: Int64, epoch: Int64) async throws(PaaSError) -> PackedSlug

    /// Ends what the engine itself does for a build, as copying its cache or its archive, handing over its source or packing
    /// its slug: such a call fails with `cancelled`, until the volume is finished. For builds that are being cancelled.
    /// - Throws: `timeout` if something does not end within 10 seconds.
    func abandonWork(build: BuildID, epoch: Int64) async throws(PaaSError)

    /// Unmounts and removes the volume; with `keepCache` its cache becomes the app's.
    func finishBuildVolume(build: BuildID, app: AppID, keepCache: Bool, epoch: Int64) async throws(PaaSError)

    /// Volumes that exist, for the repair at start.
    func listBuildVolumes() async throws(PaaSError) -> [BuildID]

    func listSlugs() async throws(PaaSError) -> [SlugDigest]
    func removeSlug(_ digest: SlugDigest, epoch: Int64) async throws(PaaSError)
    /// The caches of all apps.
    func listCaches() async throws(PaaSError) -> [BuildCache]
    func removeCache(app: AppID, epoch: Int64) async throws(PaaSError)

    /// Names of the stacks that can be used now.
    func listStacks() async throws(PaaSError) -> [StackInfo]
    /// Makes a stack from its definition; streams nothing, takes minutes.
    func buildStack(_ name: String, epoch: Int64) async throws(PaaSError)
}

/// What an app's next build starts with.
public struct BuildCache: Sendable, Codable, Hashable {
    public var app: AppID
    /// What it takes on the host's disk.
    public var bytes: Int64
    public init(app: AppID, bytes: Int64) {
        self.app = app
        self.bytes = bytes
    }
}

public struct PackedSlug: Sendable, Codable, Hashable {
    public var digest: SlugDigest
    public var sizeBytes: Int64
    public var imageBytes: Int64
    public var files: Int
    public init(digest: SlugDigest, sizeBytes: Int64, imageBytes: Int64, files: Int) {
        self.digest = digest
        self.sizeBytes = sizeBytes
        self.imageBytes = imageBytes
        self.files = files
    }
}

public struct StackInfo: Sendable, Codable, Hashable {
    public enum State: String, Sendable, Codable { case ready, missing, building }
    public var name: String
    public var state: State
    public var runImageBytes: Int64?
    public var buildImageBytes: Int64?
    public var digest: String?
    public init(name: String, state: State, runImageBytes: Int64?, buildImageBytes: Int64?, digest: String?) {
        self.name = name
        self.state = state
        self.runImageBytes = runImageBytes
        self.buildImageBytes = buildImageBytes
        self.digest = digest
    }
}
