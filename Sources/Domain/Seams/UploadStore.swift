/// Archives that builds are made from, while they come in and until their build has ended.
///
/// A file is `Settings.uploadsDirectory/<build>.tar`, whatever its compression: a regular file of paasd's user, 0600.
public protocol UploadStore: Sendable {
    /// Room for the archive of a build that is to be opened. An upload of the same app that is still coming in is given up.
    /// - Throws: `unavailable` when too many come in at once.
    func begin(app: AppID) async throws(PaaSError) -> any SourceUpload
    /// Fine for one that is not there.
    func remove(_ build: BuildID) async throws(PaaSError)
    /// Archives that are there and were not begun by this process.
    func leftovers() async throws(PaaSError) -> [BuildID]
}

/// One archive on its way. Whoever began it ends it by `finish` or `discard`.
public protocol SourceUpload: Sendable {
    /// The build that is to be opened with it.
    var build: BuildID { get }
    /// Appends.
    /// - Throws: `tooLarge` naming the limit, `conflict` when a later upload took its place.
    func write(_ bytes: [UInt8]) async throws(PaaSError)
    /// Makes it durable.
    /// - Throws: `malformed` for an empty one.
    func finish() async throws(PaaSError)
    /// Removes what came.
    func discard() async
}
