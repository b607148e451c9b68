/// What the removal of what nobody needs any more asks of the store. Every method is one transaction.
public protocol RetentionStore: Sendable {
    /// Slugs whose files may go, oldest first, at most `limit`.
    func unneededSlugs(_ rules: RetentionRules, limit: Int, now: Timestamp) async throws(PaaSError) -> [SlugDigest]
    /// Marks a slug's file as removed, if nothing needs it still. Its file may go only after that.
    /// - Returns: the bytes of its image; nil if it is needed, or was marked before.
    func retireSlug(_ digest: SlugDigest, _ rules: RetentionRules, now: Timestamp) async throws(PaaSError) -> Int64?
    /// Slugs that are not marked so.
    func slugsWithFile() async throws(PaaSError) -> Set<SlugDigest>
    /// Slugs with a file, and the bytes of their images.
    func slugTotals() async throws(PaaSError) -> SlugTotals

    /// Builds of an app whose commits nothing needs any more.
    func unneededPins(_ app: AppID, _ rules: RetentionRules, now: Timestamp) async throws(PaaSError) -> Set<BuildID>
    /// Of these builds, those whose logs may go.
    func expiredLogs(_ rules: RetentionRules, now: Timestamp) async throws(PaaSError) -> Set<BuildID>
    /// Apps that have built nothing for so long that their cache may go, and have no build under way.
    func appsWithIdleCache(_ rules: RetentionRules, now: Timestamp) async throws(PaaSError) -> Set<AppID>
}

public struct SlugTotals: Sendable, Hashable {
    public var count: Int
    public var imageBytes: Int64
    public init(count: Int, imageBytes: Int64) {
        self.count = count
        self.imageBytes = imageBytes
    }
}

/// What the removal has done since paasd started, for `/metrics`.
public struct RetentionCounts: Sendable, Hashable {
    public var slugsRemoved = 0
    public var slugBytesFreed: Int64 = 0
    public var logsRemoved = 0
    public var cachesRemoved = 0
    public var cacheBytesFreed: Int64 = 0
    public var pinsRemoved = 0
    /// When it last came to its end; nil: not yet.
    public var lastRun: Timestamp?
    /// As it was then.
    public var slugs = SlugTotals(count: 0, imageBytes: 0)
    public init() {}
}

/// Who knows these.
public protocol RetentionStatus: Sendable {
    var counts: RetentionCounts { get }
}
