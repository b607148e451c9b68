import API
import Domain
import FoundationEssentials
import Glibc
import Logging
import Synchronization
import Telemetry

final class FakeEngine: ContainerEngine, BuildEngine {
    let isAway = Mutex(false)
    func capabilities() async throws(PaaSError) -> EngineCapabilities {
        EngineCapabilities(seesSockets: true, node: "host", bootID: "boot", runtime: "runc 1.1.5")
    }
    private func no() -> PaaSError { PaaSError(.internal, "not part of these tests") }
    func ensure(_ spec: ContainerSpec) async throws(PaaSError) -> ContainerObservation { throw no() }
    func stop(_ id: InstanceID, graceSeconds: Int, epoch: Int64) async throws(PaaSError) { throw no() }
    func remove(_ id: InstanceID, epoch: Int64) async throws(PaaSError) { throw no() }
    func observe(epoch: Int64) async throws(PaaSError) -> AsyncThrowingStream<EngineEvent, any Error> { throw no() }
    /// Lines `line 1` to `line 20`, alternating between web.1 and worker.1; the cursor is the number of the last that was
    /// looked at.
    func logs(app: AppID, instance: InstanceID?, matching query: LogQuery, after: LogCursor?, limit: Int)
        async throws(PaaSError) -> LogPage
    {
        if isAway.withLock({ $0 }) { throw PaaSError(.unavailable, "the engine does not answer") }
        let first = after.flatMap { Int($0.value) } ?? 0
        let lines = (first..<20).map { index in
            LogLine(
                time: FakeStore.time.adding(seconds: Double(index)), source: .app,
                process: index % 2 == 0 ? "web.1" : "worker.1", text: "line \(index + 1)")
        }.filter(query.matches)
        return LogPage(lines: after == nil ? lines.suffix(limit) : Array(lines.prefix(limit)), next: LogCursor("20"))
    }
    func removeLogs(app: AppID, epoch: Int64) async throws(PaaSError) { throw no() }
    func createBuildVolume(build: BuildID, app: AppID, uidSlot: Int, sizeBytes: Int64, clearCache: Bool, epoch: Int64)
        async throws(PaaSError) -> String
    { throw no() }
    func placeSource(build: BuildID, uidSlot: Int, epoch: Int64) async throws(PaaSError) { throw no() }
    func sealSource(build: BuildID, uidSlot: Int, epoch: Int64) async throws(PaaSError) { throw no() }
    func readBuildFile(build: BuildID, path: String, limit: Int) async throws(PaaSError) -> [UInt8]? { throw no() }
    func packSlug(build: BuildID, uidSlot: Int, limitBytes: Int64, epoch: Int64) async throws(PaaSError) -> PackedSlug {
        throw no()
    }
    func abandonWork(build: BuildID, epoch: Int64) async throws(PaaSError) { throw no() }
    func finishBuildVolume(build: BuildID, app: AppID, keepCache: Bool, epoch: Int64) async throws(PaaSError) {
        throw no()
    }
    func listBuildVolumes() async throws(PaaSError) -> [BuildID] { [] }
    func listSlugs() async throws(PaaSError) -> [SlugDigest] { [] }
    func removeSlug(_ digest: SlugDigest, epoch: Int64) async throws(PaaSError) { throw no() }
    func listCaches() async throws(PaaSError) -> [BuildCache] { [] }
    func removeCache(app: AppID, epoch: Int64) async throws(PaaSError) { throw no() }
    func listStacks() async throws(PaaSError) -> [StackInfo] {
        [StackInfo(name: "debian-13", state: .ready, runImageBytes: 1, buildImageBytes: 2, digest: "sha256:x")]
    }
    func buildStack(_ name: String, epoch: Int64) async throws(PaaSError) { throw PaaSError(.internal, "no mirror") }
}

/// Takes at most 1 MiB.
final class FakeUpload: SourceUpload {
    let build = BuildID.random()
    let bytes = Mutex<[UInt8]>([])
    let end = Mutex("")

    func write(_ part: [UInt8]) async throws(PaaSError) {
        let count = bytes.withLock { bytes in
            bytes += part
            return bytes.count
        }
        if count > 1 << 20 { throw PaaSError(.tooLarge, "the archive is larger than the 1 MiB allowed") }
    }
    func finish() async throws(PaaSError) {
        if bytes.withLock({ $0.isEmpty }) { throw PaaSError(.malformed, "the archive is empty") }
        end.withLock { $0 = "finished" }
    }
    func discard() async { end.withLock { $0 = "discarded" } }
}

/// Lets nobody pass until it is opened.
actor Gate {
    private var isOpen = false
    private var waiting: [CheckedContinuation<Void, Never>] = []
    private var arrivals: [CheckedContinuation<Void, Never>] = []
    private var hasArrived = false

    func pass() async {
        hasArrived = true
        for continuation in arrivals { continuation.resume() }
        arrivals = []
        guard !isOpen else { return }
        await withCheckedContinuation { waiting.append($0) }
    }
    /// Returns once somebody is held up.
    func arrival() async {
        guard !hasArrived else { return }
        await withCheckedContinuation { arrivals.append($0) }
    }
    func open() {
        isOpen = true
        for continuation in waiting { continuation.resume() }
        waiting = []
    }
}

final class FakeBuilds: BuildService {
    let store: FakeStore
    /// Logs to be shown next.
    let streams = Mutex<[AsyncThrowingStream<String, any Error>]>([])
    let started = Mutex<[(source: Build.Source, options: Build.Options, upload: BuildID?)]>([])
    let uploads = Mutex<[FakeUpload]>([])
    /// Another build of the app is active.
    let isBusy = Mutex(false)
    /// How many builds each queued one waits for.
    let queue = Mutex<Int?>(nil)
    /// Asked for, in order.
    let ids = Mutex<[BuildID?]>([])
    /// Thrown instead of opening a build.
    let failure = Mutex<PaaSError?>(nil)
    /// Holds up who opens a build.
    let gate: Gate?
    init(store: FakeStore, gate: Gate? = nil) {
        self.store = store
        self.gate = gate
    }
    func receive(_ app: App, actor: Principal) async throws(PaaSError) -> any SourceUpload {
        if isBusy.withLock({ $0 }) { throw PaaSError(.conflict, "build 1 is still running") }
        let upload = FakeUpload()
        uploads.withLock { $0.append(upload) }
        return upload
    }
    func waitsFor(_ build: BuildID) async -> Int? { queue.withLock { $0 } }
    func start(
        _ app: App, id: BuildID?, source: Build.Source, options: Build.Options, upload: (any SourceUpload)?,
        actor: Principal
    ) async throws(PaaSError) -> Build {
        ids.withLock { $0.append(id) }
        if let failure = failure.withLock({ $0 }) { throw failure }
        if let gate { await gate.pass() }
        started.withLock { $0.append((source, options, upload?.build)) }
        let operation = store.addOperation(.build, "/api/v1/apps/\(app.name)/builds/1")
        let build = Build(
            id: .random(), number: 1, app: app.id, state: .queued, source: source, stack: app.stack,
            operation: operation.id, createdBy: actor.name, createdAt: FakeStore.time)
        store.state.withLock { $0.builds.append(build) }
        return build
    }
    func cancel(_ build: BuildID) async throws(PaaSError) {}
    func log(_ build: BuildID, follow: Bool) async throws(PaaSError) -> AsyncThrowingStream<String, any Error> {
        if let stream = streams.withLock({ $0.popLast() }) { return stream }
        return AsyncThrowingStream { continuation in
            continuation.yield("-----> Python app detected")
            continuation.yield("       done")
            continuation.finish()
        }
    }
    func outcome(_ build: BuildID) async throws(PaaSError) -> BuildOutcome { .released(version: 1) }
    func purgeCache(_ app: AppID) async throws(PaaSError) {}
}

struct FakeRepositories: SourceRepositories {
    static let commit = "0123456789012345678901234567890123456789"
    private func no() -> PaaSError { PaaSError(.internal, "not part of these tests") }
    func create(app: AppID) async throws(PaaSError) {}
    func remove(app: AppID) async throws(PaaSError) {}
    func setAside(app: AppID) async throws(PaaSError) {}
    func list() async throws(PaaSError) -> [AppID] { [] }
    func pin(app: AppID, build: BuildID, commit: String) async throws(PaaSError) {}
    func unpin(app: AppID, build: BuildID) async throws(PaaSError) {}
    func pins(app: AppID) async throws(PaaSError) -> [BuildID] { [] }
    func resolve(app: AppID, revision: String) async throws(PaaSError) -> String {
        guard Self.commit.hasPrefix(revision) else { throw PaaSError(.notFound, "no such commit") }
        return Self.commit
    }
    func commitInfo(app: AppID, commit: String) async throws(PaaSError) -> CommitInfo { throw no() }
    func inspect(app: AppID, commit: String) async throws(PaaSError) -> TreeFacts { throw no() }
    func checkout(
        app: AppID, commit: String, into directory: String, limitBytes: Int64, keeping: KeptHistory?
    ) async throws(PaaSError) { throw no() }
    func updateRef(app: AppID, ref: String, old: String?, new: String) async throws(PaaSError) {}
    func readRef(app: AppID, ref: String) async throws(PaaSError) -> String? { nil }
    func setHead(app: AppID, branch: String) async throws(PaaSError) {}
}

/// Takes a body slowly: one part at a time, and answers with how much came.
final class FakeExchange: GitExchange {
    struct State {
        var received = 0
        var head: [UInt8] = []
        var outstanding = 0
        var largestOutstanding = 0
        var isFinished = false
        var replies: [[UInt8]] = []
        /// Thrown behind the replies.
        var failure: PaaSError?
        var refusesInput = false
        var isClosed = false
        var waiting: [CheckedContinuation<Void, Never>] = []
    }
    let state = Mutex(State())

    init(replies: [[UInt8]] = [], failure: PaaSError? = nil) {
        state.withLock {
            $0.replies = replies
            $0.failure = failure
        }
    }

    func write(_ bytes: [UInt8]) async throws(PaaSError) {
        if state.withLock({ $0.refusesInput }) { throw PaaSError(.unavailable, "the program has ended") }
        state.withLock {
            $0.outstanding += bytes.count
            $0.largestOutstanding = max($0.largestOutstanding, $0.outstanding)
            if $0.head.count < 1 << 20 { $0.head += bytes }
        }
        await Task.yield()
        state.withLock {
            $0.received += bytes.count
            $0.outstanding -= bytes.count
        }
    }
    func finishWriting() async throws(PaaSError) {
        let waiting = state.withLock { state in
            state.isFinished = true
            defer { state.waiting = [] }
            return state.waiting
        }
        for continuation in waiting { continuation.resume() }
    }
    func read() async throws(PaaSError) -> [UInt8]? {
        await withCheckedContinuation { continuation in
            let isReady = state.withLock { state in
                let isReady = state.isFinished || state.isClosed
                if !isReady { state.waiting.append(continuation) }
                return isReady
            }
            if isReady { continuation.resume() }
        }
        let (reply, failure): ([UInt8]?, PaaSError?) = state.withLock { state in
            if !state.isFinished { return (nil, PaaSError(.unavailable, "closed")) }
            return state.replies.isEmpty ? (nil, state.failure) : (state.replies.removeFirst(), nil)
        }
        if let failure { throw failure }
        return reply
    }
    func close() async {
        let waiting = state.withLock { state in
            state.isClosed = true
            defer { state.waiting = [] }
            return state.waiting
        }
        for continuation in waiting { continuation.resume() }
    }
}

final class FakeGit: GitTransport {
    let exchanges = Mutex<[FakeExchange]>([])
    let tickets = Mutex<[String?]>([])
    let replies: [[UInt8]]
    let failure: PaaSError?
    init(replies: [[UInt8]] = [Array("0000".utf8)], failure: PaaSError? = nil) {
        self.replies = replies
        self.failure = failure
    }

    func advertise(app: AppID, service: GitService, protocolVersion: String?) async throws(PaaSError) -> any GitExchange
    {
        make(nil)
    }
    func serve(app: AppID, service: GitService, protocolVersion: String?, ticket: String?) async throws(PaaSError)
        -> any GitExchange
    { make(ticket) }
    func session(app: AppID, service: GitService, ticket: String?) async throws(PaaSError) -> any GitExchange {
        make(ticket)
    }
    private func make(_ ticket: String?) -> FakeExchange {
        let exchange = FakeExchange(replies: replies, failure: failure)
        exchanges.withLock { $0.append(exchange) }
        tickets.withLock { $0.append(ticket) }
        return exchange
    }
}

struct FakeScheduler: SchedulerWakeup { func wake(_ app: AppID) {} }

final class FakeFeed: RoutingFeed {
    struct State {
        var table: RoutingTable
        var connected: [String] = []
        var acknowledged: [String] = []
        var reports: [FlowReport] = []
        var reads = 0
        var continuations: [AsyncStream<Void>.Continuation] = []
    }
    let state = Mutex(
        State(table: RoutingTable(mark: .init(tableID: "t", revision: 1, bootID: "b"), routes: [])))
    func current() async throws(PaaSError) -> RoutingTable {
        state.withLock { state in
            state.reads += 1
            return state.table
        }
    }
    func currentMark() async throws(PaaSError) -> RoutingTable.Mark { state.withLock { $0.table.mark } }
    func report(router: String, _ reports: [FlowReport]) async throws(PaaSError) {
        state.withLock { $0.reports += reports }
    }
    func changes() -> AsyncStream<Void> {
        let (stream, continuation) = AsyncStream.makeStream(of: Void.self, bufferingPolicy: .bufferingNewest(1))
        state.withLock { $0.continuations.append(continuation) }
        return stream
    }
    func set(_ table: RoutingTable) {
        let continuations = state.withLock { state in
            state.table = table
            return state.continuations
        }
        for continuation in continuations { continuation.yield() }
    }
    func acknowledge(router: String, _ acknowledgement: RouterAcknowledgement) async throws(PaaSError) {
        state.withLock { $0.acknowledged.append(router) }
    }
    func routerConnected(_ id: String) { state.withLock { $0.connected.append(id) } }
    func routerDisconnected(_ id: String) { state.withLock { $0.connected.removeAll { $0 == id } } }
}

struct FakeStatus: StatusSource {
    var version: String { "0.0.0" }
    var ssh: SSHAddress? { SSHAddress(url: "ssh://paas-ssh@127.0.0.1:7022", hostKey: "SHA256:abc") }
    func components() async -> [ComponentStatus] { [ComponentStatus(name: "paasd", state: .up)] }
    func doctor() async throws(PaaSError) -> [DoctorCheck] { [DoctorCheck(name: "kernel", state: .ok, found: "6.18")] }
}

/// One folder for all tests of this process. It goes with the process: what serves a test may outlive it.
enum TestFolder {
    static let path: String = {
        atexit {
            // Nobody is left to be told of a failure.
            try? FileManager.default.removeItem(atPath: TestFolder.path)
        }
        return "/tmp/slipway-api-\(getpid())"
    }()
}

/// One API over fakes, with a token of each kind: `admin`, `developer`, `viewer`.
struct World {
    let store = FakeStore()
    let engine = FakeEngine()
    let builds: FakeBuilds
    let lines: PlatformLines
    let git: FakeGit
    let feed = FakeFeed()
    let tickets = PushTickets()
    let server: APIServer

    init(git: FakeGit = FakeGit(), environment: [String: String] = [:], gate: Gate? = nil) throws {
        self.git = git
        builds = FakeBuilds(store: store, gate: gate)
        let directory = "\(TestFolder.path)/\(UInt64.random(in: 0...UInt64.max))"
        try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
        lines = PlatformLines(directory: directory)
        let settings = ["PAAS_ROUTER_ADDRESS": "192.0.2.1"].merging(environment) { $1 }
        server = try APIServer(
            APIDependencies(
                store: store, engine: engine, buildEngine: engine, builds: builds, git: git,
                repositories: FakeRepositories(), scheduler: FakeScheduler(), routing: feed,
                logs: MergedLogReader([EngineLogLines(engine: engine), lines]),
                status: FakeStatus(), tickets: tickets,
                buildpacks: [.init(name: "native", looksFor: "a Makefile"), .init(name: "python", looksFor: "*.py")],
                settings: try Settings(environment: settings, file: ""),
                epoch: 1, adminTokenHash: SecretText.hash("admin"), streamRecheckSeconds: 0.1,
                clock: { FakeStore.time }), logger: Logger(label: "test"))
        store.state.withLock {
            for role in [Role.admin, .developer, .viewer] {
                $0.principals[SecretText.hash(role.rawValue)] = Principal(
                    token: .random(), name: role.rawValue, role: role, space: nil)
            }
            $0.apps["demo"] = Self.app("demo")
        }
    }

    static func app(_ name: String) -> App {
        App(
            id: .random(), name: name, space: .random(), spaceName: "default", networkIndex: 3, uidSlot: 4242,
            stack: "debian-13", createdAt: FakeStore.time, updatedAt: FakeStore.time)
    }

    /// Build 1 of the app `demo`.
    func addBuild() throws {
        store.state.withLock { state in
            guard let app = state.apps["demo"]?.id else { return }
            state.builds = [
                Build(
                    id: .random(), number: 1, app: app, state: .running, source: Build.Source(kind: .push),
                    stack: "debian-13", createdBy: "admin", createdAt: FakeStore.time)
            ]
        }
    }
}
