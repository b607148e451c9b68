/// What the builder needs of the store. Every method is one transaction.
public protocol BuildStore: Sendable {
    func app(_ id: AppID) async throws(PaaSError) -> App
    func app(named name: String) async throws(PaaSError) -> App
    func buildConfig(_ app: AppID) async throws(PaaSError) -> (vars: ConfigVars, version: Int)

    /// Opens a build (state `queued`), with an operation. `conflict` naming the number of the build that is active.
    func createBuild(_ request: BuildRequest, now: Timestamp) async throws(PaaSError) -> Build
    func build(_ id: BuildID) async throws(PaaSError) -> Build
    /// Newest first, those with a number below `before`.
    func builds(_ app: AppID, limit: Int, before: Int?) async throws(PaaSError) -> [Build]
    /// Queued and running ones, oldest first.
    func activeBuilds() async throws(PaaSError) -> [Build]
    /// Builds whose release became current (or with no-wait, was recorded) but whose end is not known to have come: told where
    /// the app is and, of a push, its ref moved.
    func buildsAwaitingRef() async throws(PaaSError) -> [Build]
    func startBuild(_ id: BuildID, now: Timestamp) async throws(PaaSError)
    /// What the build's driver reported, checked before: its buildpacks, and the commit of a source that it fetched.
    /// - Parameter pins: entries for the app's list of buildpacks once the build has succeeded, if that is empty then; empty:
    ///   nothing is to be pinned.
    func recordReport(_ id: BuildID, buildpacks: [Build.UsedBuildpack], commit: String?, pins: [String])
        async throws(PaaSError)
    /// Also finishes its operation, and records the event `build.failed` or `build.cancelled`.
    func failBuild(_ id: BuildID, state: Build.State, error: ErrorReport, now: Timestamp) async throws(PaaSError)
    /// Marks a wish to cancel, also across a restart. False if the build is already final.
    func requestCancel(_ id: BuildID, now: Timestamp) async throws(PaaSError) -> Bool
    func cancelRequested(_ id: BuildID) async throws(PaaSError) -> Bool

    /// Step 3: the row of a stored slug file, and what is kept about it. Compares it with what the same commit gave before.
    func recordSlug(_ slug: Slug, evidence: SlugEvidence, build: BuildID) async throws(PaaSError) -> Build.Comparison?
    /// Step 4 (tx 2): release n+1 with the present config, formation of a first release, the `web` port binding of a first
    /// release, generation, event, operation; the build is `succeeded`, and its buildpacks are pinned to the
    /// app if they were detected. With `buildOnly`: no release.
    func completeBuild(_ id: BuildID, slug: Slug, portRange: ClosedRange<UInt16>, now: Timestamp)
        async throws(PaaSError)
        -> Release?
    /// Step 9.
    func markRefMoved(_ id: BuildID) async throws(PaaSError)
    /// Fixes the deploy branch if it isn't fixed yet; returns the one in force.
    func fixDeployBranch(_ app: AppID, _ branch: String) async throws(PaaSError) -> String
    func releaseState(_ app: AppID, version: Int) async throws(PaaSError) -> (state: Release.State, output: String?)

    /// Digests with a row.
    func knownSlugs() async throws(PaaSError) -> Set<SlugDigest>
    func knownApps() async throws(PaaSError) -> Set<AppID>
    func knownBuilds(_ app: AppID) async throws(PaaSError) -> Set<BuildID>
}

public struct BuildRequest: Sendable {
    public var id: BuildID
    public var app: AppID
    public var source: Build.Source
    public var options: Build.Options
    public var createdBy: String
    public init(id: BuildID, app: AppID, source: Build.Source, options: Build.Options, createdBy: String) {
        self.id = id
        self.app = app
        self.source = source
        self.options = options
        self.createdBy = createdBy
    }
}
