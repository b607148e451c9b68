import Builder
import Domain
import FoundationEssentials
import Logging
import Synchronization

/// The durable world of a test: database, engine and repositories in memory. Survives any number of coordinators.
final class FakeWorld: Sendable {
    struct State {
        var app: App
        var builds: [BuildID: Build] = [:]
        var cancelled: Set<BuildID> = []
        var slugRows: Set<SlugDigest> = []
        var releases: [Int: Release] = [:]
        var refs: [String: String] = [:]
        var pins: Set<BuildID> = []
        var head: String?
        var volumes: Set<BuildID> = []
        var abandoned: Set<BuildID> = []
        /// Packing takes until the build is abandoned.
        var packsForever = false
        var caches: Set<AppID> = []
        /// Calls that never end, by name.
        var endless: Set<String> = []
        var keptCaches: [Bool] = []
        var slugFiles: Set<SlugDigest> = []
        /// How often slug files go once they are packed, before anybody sees them.
        var slugFilesToLose = 0
        /// Slugs that a process has mounted.
        var slugsInUse: Set<SlugDigest> = []
        var repositories: [AppID] = []
        var containers: [InstanceID: ContainerObservation] = [:]
        var output: [InstanceID: [String]] = [:]
        var ensured: [ContainerSpec] = []
        var files: [String: String] = [
            "app/Procfile": "web: ./run\n", "result/build.json": FakeWorld.report(),
            "result/sbom.cdx.json": #"{"bomFormat":"CycloneDX","specVersion":"1.5"}"#,
        ]
        var config: [String: String] = ["GREETING": "hello"]
        var stacks: [StackInfo] = []
        /// What `recordSlug` compares with.
        var comparison: Build.Comparison?
        var evidence: [SlugEvidence] = []
        /// Buildpacks to pin, by build.
        var buildpackPins: [BuildID: [String]] = [:]
        /// Steps of a source, in the order they came.
        var sourceSteps: [String] = []
        var facts = TreeFacts(
            files: 3, totalBytes: 100, largestFile: "a", largestBytes: 50, lfsPointers: [], gitlinks: [],
            hasGitmodules: false)
        /// What was asked for with each checkout.
        var checkouts: [KeptHistory?] = []
        var ports: [PortBinding] = []
        /// What a build container does: lines, exit code. Nil: it keeps running.
        var script: (lines: [String], exit: Int32)? = (["-----> Python app detected"], 0)
        var timedOut = false
        var outOfMemory = false
        /// What becomes of a new release by itself.
        var rollout: Release.State = .current
        var rolloutOutput: String?
        /// Runs of releases by version.
        var runs: [Int: [ReleaseRun]] = [:]
        /// Nil: as without app.json.
        var formation: Formation?
        /// What the last completed build found in app.json.
        var manifest: AppManifest?
        /// Calls that are not answered now, by name.
        var away: Set<String> = []
        /// Calls that fail for good, by name.
        var broken: Set<String> = []
        /// Calls that find no room, by name.
        var full: Set<String> = []
        /// How often a call was made.
        var calls: [String: Int] = [:]
        /// The next `createBuild` makes the row, but its answer is lost.
        var losesNextAnswer = false
        var refusesBuilds = false
        var setAside: [AppID] = []
        var wasCurrent: Set<Int> = []
        /// Objects that are no commits.
        var tags: Set<String> = []
        /// Builds that were recorded as ended while their container ran.
        var endedTooEarly: [BuildID] = []
        var observers: [Int: AsyncThrowingStream<EngineEvent, any Error>.Continuation] = [:]
        var nextObserver = 0
    }
    let state: Mutex<State>
    /// What a driver leaves in `build.json`.
    static func report(
        _ buildpacks: String = #"[{"name":"python"}]"#, source: String = "null", detected: Bool = false,
        displayName: String = "Python"
    ) -> String {
        #"{"buildpacks":\#(buildpacks),"displayName":"\#(displayName)","source":\#(source),"artifacts":[],"detected":\#(detected)}"#
    }
    static let digest = SlugDigest(hex: String(repeating: "a", count: 64))

    init() {
        let now = Timestamp(microseconds: 0)
        let app = App(
            id: .random(), name: "dns", space: .random(), spaceName: "default", networkIndex: 0, uidSlot: 0,
            stack: "debian-13", createdAt: now, updatedAt: now)
        state = Mutex(State(app: app, repositories: [app.id]))
    }

    func with<T>(_ body: (inout sending State) throws -> sending T) rethrows -> T {
        try state.withLock { state in try body(&state) }
    }
    var app: App { with { $0.app } }
    var build: Build? { with { $0.builds.values.max { $0.number < $1.number } } }

    func exit(_ id: InstanceID, code: Int32) {
        let seen: ContainerObservation? = with { state in
            state.containers[id]?.state = .exited
            state.containers[id]?.exitCode = code
            state.containers[id]?.timedOut = state.timedOut
            state.containers[id]?.outOfMemory = state.outOfMemory
            return state.containers[id]
        }
        if let seen { send(.changed(seen)) }
    }

    func send(_ event: EngineEvent) {
        let all = with { Array($0.observers.values) }
        for one in all { one.yield(event) }
    }
}

/// One paasd in that world. After `kill` nothing that it does has any effect, as after SIGKILL.
final class FakePaasd: Sendable, FaultInjector {
    let world: FakeWorld
    let dieAt: FaultPoint?
    private let dead = Mutex(false)

    init(_ world: FakeWorld, dieAt: FaultPoint? = nil) {
        self.world = world
        self.dieAt = dieAt
    }

    var isDead: Bool { dead.withLock { $0 } }
    func kill() { dead.withLock { $0 = true } }
    func reached(_ point: FaultPoint) { if point == dieAt { kill() } }
    func alive() throws(PaaSError) {
        if isDead { throw PaaSError(.stale, "killed") }
    }
    func called(_ name: String) throws(PaaSError) {
        try alive()
        let (away, broken, full) = world.with { state in
            state.calls[name, default: 0] += 1
            return (state.away.contains(name), state.broken.contains(name), state.full.contains(name))
        }
        if away { throw PaaSError(.unavailable, "\(name) is not answered; retry") }
        if broken { throw PaaSError(.internal, "\(name) fails") }
        if full { throw PaaSError(.exhausted, "no room for \(name)") }
    }
}

extension FakePaasd: SchedulerWakeup { func wake(_ app: AppID) {} }

extension FakePaasd: BuildStore {
    func app(_ id: AppID) async throws(PaaSError) -> App {
        try called("app")
        return world.app
    }
    func app(named name: String) async throws(PaaSError) -> App {
        try alive()
        return world.app
    }
    func buildConfig(_ app: AppID) async throws(PaaSError) -> (vars: ConfigVars, version: Int) {
        try alive()
        var vars: ConfigVars = [:]
        for (name, value) in world.with({ $0.config }) { vars[name] = try ConfigValue(value) }
        return (vars, 1)
    }
    func createBuild(_ request: BuildRequest, now: Timestamp) async throws(PaaSError) -> Build {
        try called("createBuild")
        if world.with({ $0.refusesBuilds }) { throw PaaSError(.conflict, "dns is being deleted") }
        let (made, isLost): (Build?, Bool) = world.with { state in
            if let known = state.builds[request.id] { return (known, false) }
            if state.builds.values.contains(where: { !$0.state.isFinal }) { return (nil, false) }
            let build = Build(
                id: request.id, number: state.builds.count + 1, app: request.app, state: .queued,
                source: request.source, options: request.options, stack: "debian-13", createdBy: request.createdBy,
                createdAt: now)
            state.builds[build.id] = build
            defer { state.losesNextAnswer = false }
            return (build, state.losesNextAnswer)
        }
        if isLost { throw PaaSError(.unavailable, "the answer is lost") }
        guard let made else { throw PaaSError(.conflict, "a build is in progress") }
        return made
    }
    func builds(_ app: AppID, limit: Int, before: Int?) async throws(PaaSError) -> [Build] {
        try alive()
        return world.with { state in
            Array(
                state.builds.values.filter { $0.number < before ?? .max }.sorted { $0.number > $1.number }.prefix(limit)
            )
        }
    }
    func build(_ id: BuildID) async throws(PaaSError) -> Build {
        try called("build")
        guard let build = world.with({ $0.builds[id] }) else { throw PaaSError(.notFound, "no such build") }
        return build
    }
    func activeBuilds() async throws(PaaSError) -> [Build] {
        try alive()
        return world.with { $0.builds.values.filter { !$0.state.isFinal }.sorted { $0.number < $1.number } }
    }
    func buildsAwaitingRef() async throws(PaaSError) -> [Build] {
        try alive()
        return world.with { state in
            state.builds.values.filter { build in
                guard build.state == .succeeded, !build.refMoved, let v = build.release
                else { return false }
                return state.releases[v]?.state == .current || state.wasCurrent.contains(v)
            }
        }
    }
    func startBuild(_ id: BuildID, now: Timestamp) async throws(PaaSError) {
        try alive()
        world.with { $0.builds[id]?.state = .running }
    }
    func recordReport(_ id: BuildID, buildpacks: [Build.UsedBuildpack], commit: String?, pins: [String])
        async throws(PaaSError)
    {
        try alive()
        world.with {
            $0.builds[id]?.buildpacks = buildpacks
            if $0.builds[id]?.source.commit == nil { $0.builds[id]?.source.commit = commit }
            $0.buildpackPins[id] = pins
        }
    }
    func failBuild(_ id: BuildID, state: Build.State, error: ErrorReport, now: Timestamp) async throws(PaaSError) {
        try alive()
        world.with {
            $0.builds[id]?.state = state
            $0.builds[id]?.error = error
            if $0.containers[InstanceID(id.uuid)]?.state == .running { $0.endedTooEarly.append(id) }
        }
    }
    func requestCancel(_ id: BuildID, now: Timestamp) async throws(PaaSError) -> Bool {
        try alive()
        return world.with { state in
            guard let build = state.builds[id], !build.state.isFinal else { return false }
            state.cancelled.insert(id)
            return true
        }
    }
    func cancelRequested(_ id: BuildID) async throws(PaaSError) -> Bool {
        try alive()
        return world.with { $0.cancelled.contains(id) }
    }
    func recordSlug(_ slug: Slug, evidence: SlugEvidence, build: BuildID) async throws(PaaSError) -> Build.Comparison? {
        try called("recordSlug")
        return world.with {
            $0.slugRows.insert(slug.digest)
            $0.builds[build]?.slug = slug.digest
            $0.evidence.append(evidence)
            return $0.comparison
        }
    }
    func completeBuild(_ id: BuildID, slug: Slug, portRange: ClosedRange<UInt16>, now: Timestamp)
        async throws(PaaSError) -> Release?
    {
        try alive()
        return world.with { state in
            state.builds[id]?.state = .succeeded
            if state.app.buildpacks.isEmpty { state.app.buildpacks = state.buildpackPins[id] ?? [] }
            state.manifest = slug.manifest
            if state.builds[id]?.options.buildOnly == true { return nil }
            let release = Release(
                id: .random(), version: state.releases.count + 1, app: state.app.id, state: state.rollout,
                slug: slug.digest, stack: slug.stack, processTypes: slug.processTypes, configVersion: 1,
                description: "", createdBy: "", createdAt: now, output: state.rolloutOutput,
                wasCurrent: state.rollout == .current)
            state.releases[release.version] = release
            state.builds[id]?.release = release.version
            return release
        }
    }
    func markRefMoved(_ id: BuildID) async throws(PaaSError) {
        try alive()
        world.with { $0.builds[id]?.refMoved = true }
    }
    func fixDeployBranch(_ app: AppID, _ branch: String) async throws(PaaSError) -> String {
        try alive()
        return world.with { state in
            let fixed = state.app.deployBranch ?? branch
            state.app.deployBranch = fixed
            return fixed
        }
    }
    func releaseState(_ app: AppID, version: Int) async throws(PaaSError) -> (state: Release.State, output: String?) {
        try alive()
        guard let release = world.with({ $0.releases[version] }) else { throw PaaSError(.notFound, "no release") }
        return (release.state, release.output)
    }
    func knownSlugs() async throws(PaaSError) -> Set<SlugDigest> { world.with { $0.slugRows } }
    func knownApps() async throws(PaaSError) -> Set<AppID> { [world.app.id] }
    func knownBuilds(_ app: AppID) async throws(PaaSError) -> Set<BuildID> {
        try called("knownBuilds")
        return world.with { Set($0.builds.keys) }
    }
}

extension FakePaasd {
    /// Returns at once, or never while the call is endless; whoever is cancelled is not heard here.
    func hang(_ call: String) async {
        while world.with({ $0.endless.contains(call) }) {
            if isDead { return }
            await Task.detached { _ = try? await Task.sleep(for: .milliseconds(5)) }.value
        }
    }
}

extension FakePaasd: SourceRepositories {
    func create(app: AppID) async throws(PaaSError) {}
    func remove(app: AppID) async throws(PaaSError) {
        try alive()
        world.with { state in state.repositories.removeAll { $0 == app } }
    }
    func setAside(app: AppID) async throws(PaaSError) {
        try alive()
        world.with { state in
            state.setAside.append(app)
            state.repositories.removeAll { $0 == app }
        }
    }
    func list() async throws(PaaSError) -> [AppID] {
        try called("list")
        return world.with { $0.repositories }
    }
    func pin(app: AppID, build: BuildID, commit: String) async throws(PaaSError) {
        try alive()
        _ = world.with { $0.pins.insert(build) }
    }
    func unpin(app: AppID, build: BuildID) async throws(PaaSError) {
        try alive()
        _ = world.with { $0.pins.remove(build) }
    }
    func pins(app: AppID) async throws(PaaSError) -> [BuildID] { world.with { Array($0.pins) } }
    func resolve(app: AppID, revision: String) async throws(PaaSError) -> String { revision }
    func commitInfo(app: AppID, commit: String) async throws(PaaSError) -> CommitInfo {
        if world.with({ $0.tags.contains(commit) }) { throw PaaSError(.notFound, "no commit") }
        return CommitInfo(id: commit, tree: commit, subject: "", author: "", time: Timestamp(microseconds: 0))
    }
    func inspect(app: AppID, commit: String) async throws(PaaSError) -> TreeFacts {
        try called("inspect")
        await hang("inspect")
        return world.with {
            $0.sourceSteps.append("inspect")
            return $0.facts
        }
    }
    func checkout(app: AppID, commit: String, into directory: String, limitBytes: Int64, keeping: KeptHistory?)
        async throws(PaaSError)
    {
        try called("checkout")
        world.with { $0.sourceSteps.append("checkout") }
        await hang("checkout")
        world.with { $0.checkouts.append(keeping) }
    }
    func updateRef(app: AppID, ref: String, old: String?, new: String) async throws(PaaSError) {
        try called("updateRef")
        let done = world.with { state in
            guard state.refs[ref] == old else { return false }
            state.refs[ref] = new
            return true
        }
        if !done { throw PaaSError(.conflict, "ref moved") }
    }
    func readRef(app: AppID, ref: String) async throws(PaaSError) -> String? { world.with { $0.refs[ref] } }
    func setHead(app: AppID, branch: String) async throws(PaaSError) {
        try alive()
        world.with { $0.head = branch }
    }
}

extension FakePaasd: BuildEngine {
    func createBuildVolume(
        build: BuildID, app: AppID, uidSlot: Int, sizeBytes: Int64, clearCache: Bool, epoch: Int64
    ) async throws(PaaSError) -> String {
        try called("createBuildVolume")
        _ = world.with { $0.volumes.insert(build) }
        return "/volume"
    }
    func placeSource(build: BuildID, uidSlot: Int, epoch: Int64) async throws(PaaSError) {
        try called("placeSource")
        await hang("placeSource")
        world.with { $0.sourceSteps.append("place") }
    }
    func sealSource(build: BuildID, uidSlot: Int, epoch: Int64) async throws(PaaSError) {
        try called("sealSource")
        await hang("sealSource")
        world.with { $0.sourceSteps.append("seal") }
    }
    func readBuildFile(build: BuildID, path: String, limit: Int) async throws(PaaSError) -> [UInt8]? {
        try alive()
        return world.with { $0.files[path].map { Array($0.utf8.prefix(limit)) } }
    }
    func packSlug(build: BuildID, uidSlot: Int, limitBytes: Int64, epoch: Int64) async throws(PaaSError) -> PackedSlug {
        try called("packSlug")
        while world.with({ $0.packsForever && !$0.abandoned.contains(build) }) {
            do { try await Task.sleep(for: .milliseconds(5)) } catch { break }
        }
        if world.with({ $0.abandoned.contains(build) }) { throw PaaSError(.cancelled, "abandoned") }
        guard let digest = FakeWorld.digest else { throw PaaSError(.internal, "digest") }
        _ = world.with { $0.slugFiles.insert(digest) }
        return PackedSlug(digest: digest, sizeBytes: 1000, imageBytes: 2048, files: 3)
    }
    func abandonWork(build: BuildID, epoch: Int64) async throws(PaaSError) {
        try called("abandonWork")
        _ = world.with { $0.abandoned.insert(build) }
    }
    func finishBuildVolume(build: BuildID, app: AppID, keepCache: Bool, epoch: Int64) async throws(PaaSError) {
        try called("finishBuildVolume")
        world.with { if $0.volumes.remove(build) != nil { $0.keptCaches.append(keepCache) } }
    }
    func listBuildVolumes() async throws(PaaSError) -> [BuildID] { world.with { Array($0.volumes) } }
    func listSlugs() async throws(PaaSError) -> [SlugDigest] {
        try called("listSlugs")
        return world.with {
            if $0.slugFilesToLose > 0, !$0.slugFiles.isEmpty {
                $0.slugFilesToLose -= 1
                $0.slugFiles = []
            }
            return Array($0.slugFiles)
        }
    }
    func removeSlug(_ digest: SlugDigest, epoch: Int64) async throws(PaaSError) {
        try called("removeSlug \(digest)")
        if world.with({ $0.slugsInUse.contains(digest) }) { throw PaaSError(.conflict, "in use") }
        _ = world.with { $0.slugFiles.remove(digest) }
    }
    func listCaches() async throws(PaaSError) -> [BuildCache] {
        try called("listCaches")
        return world.with {
            $0.caches.sorted { $0.uuid.description < $1.uuid.description }.map { BuildCache(app: $0, bytes: 7) }
        }
    }
    func removeCache(app: AppID, epoch: Int64) async throws(PaaSError) {
        try called("removeCache")
        _ = world.with { $0.caches.remove(app) }
    }
    func listStacks() async throws(PaaSError) -> [StackInfo] { world.with { $0.stacks } }
    func buildStack(_ name: String, epoch: Int64) async throws(PaaSError) {}
}

extension FakePaasd: ContainerEngine {
    func capabilities() async throws(PaaSError) -> EngineCapabilities {
        EngineCapabilities(seesSockets: true, node: "n", bootID: "b", runtime: "fake")
    }
    func ensure(_ spec: ContainerSpec) async throws(PaaSError) -> ContainerObservation {
        try alive()
        let (seen, script) = world.with { state in
            state.ensured.append(spec)
            let seen = ContainerObservation(
                id: spec.id, app: spec.app, name: spec.name, isBuild: true, epoch: spec.epoch, generation: 0,
                state: .running, node: "n", bootID: "b")
            state.containers[spec.id] = seen
            state.output[spec.id] = state.script?.lines ?? ["       working"]
            return (seen, state.script)
        }
        world.send(.changed(seen))
        if let script { world.exit(spec.id, code: script.exit) }
        return seen
    }
    func stop(_ id: InstanceID, graceSeconds: Int, epoch: Int64) async throws(PaaSError) {
        try called("stop")
        if world.with({ $0.containers[id]?.state == .running }) { world.exit(id, code: 143) }
    }
    func remove(_ id: InstanceID, epoch: Int64) async throws(PaaSError) {
        try alive()
        world.with { $0.containers[id] = nil }
        world.send(.removed(id))
    }
    func observe(epoch: Int64) async throws(PaaSError) -> AsyncThrowingStream<EngineEvent, any Error> {
        try alive()
        let (stream, continuation) = AsyncThrowingStream<EngineEvent, any Error>.makeStream()
        world.with { state in
            state.nextObserver += 1
            state.observers[state.nextObserver] = continuation
            continuation.yield(.list(Array(state.containers.values)))
        }
        return stream
    }
    func logs(app: AppID, instance: InstanceID?, matching query: LogQuery, after: LogCursor?, limit: Int)
        async throws(PaaSError) -> LogPage
    {
        try called("logs of \(instance.map { "\($0)" } ?? "all")")
        // A place in the log of one run; of another run, reading begins with its first line.
        let name = instance.map { "\($0)=" } ?? "="
        let from = after.flatMap { $0.value.hasPrefix(name) ? Int($0.value.dropFirst(name.count)) : nil } ?? 0
        let (all, isRun) = world.with { state in
            (
                instance.flatMap { state.output[$0] } ?? [],
                state.runs.values.contains { $0.contains { $0.instance == instance } }
            )
        }
        let lines = all.dropFirst(from).prefix(limit).map {
            LogLine(
                time: Timestamp(microseconds: 0), source: isRun ? .app : .build,
                process: isRun ? "release.1" : "build.1",
                text: $0)
        }
        return LogPage(lines: lines, next: LogCursor("\(name)\(from + lines.count)"))
    }
    func removeLogs(app: AppID, epoch: Int64) async throws(PaaSError) {}
}
