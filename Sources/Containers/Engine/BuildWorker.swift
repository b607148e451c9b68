import Domain

/// Builds, slugs and stacks on this host: `BuildEngine` without epochs, which the server has checked. Blocking; throws
/// `PaaSError`.
public protocol BuildWorker: Sendable {
    func createBuildVolume(build: BuildID, app: AppID, uidSlot: Int, sizeBytes: Int64, clearCache: Bool) throws
        -> String
    func placeSource(build: BuildID, uidSlot: Int) throws
    func sealSource(build: BuildID, uidSlot: Int) throws
    func readBuildFile(build: BuildID, path: String, limit: Int) throws -> [UInt8]?
    func packSlug(build: BuildID, uidSlot: Int, limitBytes: Int64) throws -> PackedSlug
    func abandonWork(build: BuildID) throws
    func finishBuildVolume(build: BuildID, app: AppID, keepCache: Bool) throws
    func listBuildVolumes() throws -> [BuildID]
    func listSlugs() throws -> [SlugDigest]
    func removeSlug(_ digest: SlugDigest) throws
    func listCaches() throws -> [BuildCache]
    func removeCache(app: AppID) throws
    func listStacks() throws -> [StackInfo]
    func buildStack(_ name: String) throws
}
