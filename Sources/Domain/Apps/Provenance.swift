/// How a slug came to be, as far as it can matter to whoever has to trust or repeat it. Kept with the build; the API shows it
/// as an in-toto statement with the predicate of SLSA provenance v1.
public struct Provenance: Sendable, Codable, Hashable {
    /// What the build may have used at most.
    public struct Limits: Sendable, Codable, Hashable {
        public var seconds: Int
        public var memoryBytes: Int64
        public var diskBytes: Int64
        public var slugBytes: Int64
        /// Of the source, unpacked.
        public var sourceBytes: Int64
        public init(seconds: Int, memoryBytes: Int64, diskBytes: Int64, slugBytes: Int64, sourceBytes: Int64) {
            self.seconds = seconds
            self.memoryBytes = memoryBytes
            self.diskBytes = diskBytes
            self.slugBytes = slugBytes
            self.sourceBytes = sourceBytes
        }
    }

    /// Where the source came from and what it was.
    public struct Source: Sendable, Codable, Hashable {
        public var kind: Build.Source.Kind
        public var url: String?
        public var ref: String?
        /// Commit and tree, in hexadecimal; nil for an archive.
        public var commit: String?
        public var tree: String?
        /// Of an archive, in hexadecimal; nil for git.
        public var sha256: String?
        public init(
            kind: Build.Source.Kind, url: String? = nil, ref: String? = nil, commit: String? = nil,
            tree: String? = nil, sha256: String? = nil
        ) {
            self.kind = kind
            self.url = url
            self.ref = ref
            self.commit = commit
            self.tree = tree
            self.sha256 = sha256
        }
    }

    /// Version of the platform.
    public var builder: String
    public var build: BuildID
    public var number: Int
    public var source: Source
    public var stack: String
    /// Of the stack's images when the build ended; nil if the engine did not say.
    public var stackDigest: String?
    public var buildpacks: [Build.UsedBuildpack]
    /// What buildpacks said they fetched.
    public var artifacts: [BuildReport.Artifact]
    public var limits: Limits
    /// The build container had no network.
    public var isOffline: Bool
    /// An earlier build's cache was there.
    public var mayUseCache: Bool
    public var startedAt: Timestamp
    public var finishedAt: Timestamp

    public init(
        builder: String, build: BuildID, number: Int, source: Source, stack: String, stackDigest: String?,
        buildpacks: [Build.UsedBuildpack], artifacts: [BuildReport.Artifact], limits: Limits, isOffline: Bool,
        mayUseCache: Bool, startedAt: Timestamp, finishedAt: Timestamp
    ) {
        self.builder = builder
        self.build = build
        self.number = number
        self.source = source
        self.stack = stack
        self.stackDigest = stackDigest
        self.buildpacks = buildpacks
        self.artifacts = artifacts
        self.limits = limits
        self.isOffline = isOffline
        self.mayUseCache = mayUseCache
        self.startedAt = startedAt
        self.finishedAt = finishedAt
    }
}

/// What is kept about a slug besides its files.
public struct SlugEvidence: Sendable, Hashable {
    /// Largest list of components that is kept, in bytes.
    public static let maximumBillBytes = 8 << 20

    public var provenance: Provenance
    /// The components found in it: CycloneDX 1.5 as JSON; nil if the build left none that can be used.
    public var billOfMaterials: [UInt8]?

    public init(provenance: Provenance, billOfMaterials: [UInt8]?) {
        self.provenance = provenance
        self.billOfMaterials = billOfMaterials
    }
}

/// A slug, and what the caller may know of its use.
public struct SlugInfo: Sendable, Hashable {
    /// One app's builds and releases of it.
    public struct Use: Sendable, Hashable {
        public var app: String
        /// Numbers of builds that made it, newest first, at most `maximumListed`.
        public var builds: [Int]
        /// Versions of releases of it, newest first, at most `maximumListed`.
        public var releases: [Int]
        public init(app: String, builds: [Int], releases: [Int]) {
            self.app = app
            self.builds = builds
            self.releases = releases
        }
    }
    /// Builds and releases of one app that are named.
    public static let maximumListed = 100

    public var digest: SlugDigest
    /// Bytes of the canonical tar.
    public var sizeBytes: Int64
    /// Bytes of the mountable image.
    public var imageBytes: Int64
    public var createdAt: Timestamp
    /// When its files were removed, because nothing could run it any more; nil: they are there.
    public var removedAt: Timestamp?
    public var uses: [Use]
    /// Nil for what was built before it was kept, and where many slugs are listed.
    public var provenance: Provenance?
    /// A list of its components is kept.
    public var hasBill: Bool

    public init(
        digest: SlugDigest, sizeBytes: Int64, imageBytes: Int64, createdAt: Timestamp,
        removedAt: Timestamp? = nil, uses: [Use],
        provenance: Provenance?, hasBill: Bool
    ) {
        self.digest = digest
        self.sizeBytes = sizeBytes
        self.imageBytes = imageBytes
        self.createdAt = createdAt
        self.removedAt = removedAt
        self.uses = uses
        self.provenance = provenance
        self.hasBill = hasBill
    }
}
