import Domain
import Logging

/// Builds as the API and the push see them, and the loop that drives them. One per paasd.
///
/// `run()` adopts the builds that an earlier paasd left and repairs and sweeps beside them. Every build is driven in a task of
/// its own.
public actor BuildCoordinator: BuildService {
    private let parts: BuildParts
    private let watch = ContainerWatch()
    private let slots: BuildSlots
    /// No slug file is without a row any more, but for builds of this paasd.
    private let slugsChecked = Gate()
    /// Builds that are driven, and those that were until a moment ago.
    private var driven: [BuildID: BuildProgress] = [:]
    private var tasks: [BuildID: Task<Void, Never>] = [:]
    /// Ended ones stay a while for those who ask for the outcome; oldest first.
    private var recent: [BuildID] = []
    /// Pinned, row not yet written: not to be repaired away.
    private var opening: Set<BuildID> = []
    /// Builds that were taken up again because nobody drove them: how often, and not before when once more.
    private var retries: [BuildID: (count: Int, next: ContinuousClock.Instant)] = [:]

    public init(_ parts: BuildParts) {
        self.parts = parts
        slots = BuildSlots(limit: parts.settings.buildConcurrency)
    }

    // MARK: BuildService

    public func start(
        _ app: App, id: BuildID?, source: Build.Source, options: Build.Options, upload: (any SourceUpload)?,
        actor: Principal
    ) async throws(PaaSError) -> Build {
        do throws(PaaSError) {
            guard (upload != nil) == (source.kind == .tar) else {
                throw PaaSError(.internal, "an archive belongs to a build of one, and to no other")
            }
            var wanted = upload?.build ?? id ?? .random()
            if upload == nil, let id {
                if let known = try await known(id, app, actor) {
                    // Whoever asked for it may have been cut off before the answer. It is driven already, or taken up by
                    // the loop.
                    if known.createdAt.adding(seconds: Limits.idempotencySeconds) > parts.now() { return known }
                    wanted = .random()
                }
            }
            return try await start(
                app, id: wanted, source: source, options: options, actor: actor, patience: .zero)
        } catch {
            // As for a pin: the row may be there.
            if error.code != .unavailable && error.code != .stale && error.code != .cancelled {
                await upload?.discard()
            }
            throw error
        }
    }

    public func receive(_ app: App, actor: Principal) async throws(PaaSError) -> any SourceUpload {
        try Self.require(actor, app)
        if let active = try await active(app.id) { throw Self.busy(active, app) }
        return try await parts.uploads.begin(app: app.id)
    }

    public func waitsFor(_ build: BuildID) -> Int? { driven[build]?.waitsFor }

    private static func require(_ actor: Principal, _ app: App) throws(PaaSError) {
        guard actor.mayChangeApps, actor.maySee(space: app.space) else {
            throw PaaSError(.forbidden, "this token may not build \(app.name)")
        }
    }

    private func known(_ id: BuildID, _ app: App, _ actor: Principal) async throws(PaaSError) -> Build? {
        try Self.require(actor, app)
        do throws(PaaSError) {
            return try await parts.store.build(id)
        } catch  where error.code == .notFound {
            return nil
        }
    }

    private static func busy(_ active: Build, _ app: App) -> PaaSError {
        PaaSError(
            .conflict,
            "build \(active.number) of \(app.name) is still running; wait for it, or cancel it: paasctl builds cancel \(active.number) -a \(app.name)"
        )
    }

    /// - Parameter patience: how long a part of the platform that is away is waited for.
    func start(
        _ app: App, id: BuildID = .random(), source: Build.Source, options: Build.Options, actor: Principal,
        patience: Duration
    ) async throws(PaaSError) -> Build {
        try Self.require(actor, app)
        opening.insert(id)
        defer { opening.remove(id) }
        let parts = parts
        if source.kind.isInRepository {
            guard let commit = source.commit else { throw PaaSError(.invalid, "name the commit to build") }
            try await patiently(patience) { () async throws(PaaSError) in
                try await parts.sources.pin(app: app.id, build: id, commit: commit)
            }
            parts.faults.reached(.refPinned)
        }
        let build: Build
        do throws(PaaSError) {
            // With the same id: a row whose answer got lost is found, not made again.
            build = try await patiently(patience) { () async throws(PaaSError) in
                try await parts.store.createBuild(
                    BuildRequest(id: id, app: app.id, source: source, options: options, createdBy: actor.name),
                    now: parts.now())
            }
        } catch {
            // An answer that got lost: the row may be there, and then the pin must stay. The repair at start knows.
            if source.kind.isInRepository,
                error.code != .unavailable && error.code != .stale && error.code != .cancelled
            {
                do throws(PaaSError) {
                    try await parts.sources.unpin(app: app.id, build: id)
                } catch {
                    parts.logger.warning(
                        "a pin stays until the next start", metadata: ["error": "\(ErrorChain(error))"])
                }
            }
            throw error
        }
        parts.faults.reached(.buildRecorded)
        drive(id, adopted: false)
        return build
    }

    /// - Throws: `invalid` when what is pushed to a branch is no commit.
    func requireCommit(_ app: App, _ command: PushCommand) async throws(PaaSError) {
        do throws(PaaSError) {
            _ = try await patiently(BuildRun.patience) { () async throws(PaaSError) in
                try await parts.sources.commitInfo(app: app.id, commit: command.new)
            }
        } catch  where error.code == .notFound || error.code == .invalid {
            let branch = command.ref.dropFirst(11)
            throw PaaSError(
                .invalid,
                "\(branch) must be a commit, and this is a tag or another object; to deploy the commit of a tag: git push paas TAG^{}:\(branch)",
                cause: error)
        }
    }

    public func cancel(_ build: BuildID) async throws(PaaSError) {
        guard try await parts.store.requestCancel(build, now: parts.now()) else {
            let known = try await parts.store.build(build)
            throw PaaSError(.conflict, "build \(known.number) is over (\(known.state.rawValue)) and can't be cancelled")
        }
        driven[build]?.requestCancel()
    }

    public func log(_ build: BuildID, follow: Bool) async throws(PaaSError) -> AsyncThrowingStream<String, any Error> {
        let known = try await parts.store.build(build)
        let progress = follow ? try await attach(known) : nil
        // Every build says something at its end.
        if known.state.isFinal, progress == nil, try await parts.log.read(build, from: .start, limit: 1).lines.isEmpty {
            let line =
                " !     The log of build \(known.number) is no longer kept (PAAS_RETAIN_BUILD_LOGS, PAAS_RETAIN_LOG_DAYS)."
            return AsyncThrowingStream { continuation in
                continuation.yield(line)
                continuation.finish()
            }
        }
        let reader = BuildLogReader(log: parts.log, build: build, fromLine: 0, progress: progress)
        return AsyncThrowingStream {
            if let line = try await reader.next() { return line }
            // Whoever drove it stopped without an end: more lines will come.
            if let progress, progress.outcome == nil {
                throw PaaSError(
                    .unavailable, "build \(known.number) is interrupted and goes on by itself; ask for its log again")
            }
            return nil
        }
    }

    /// The lines for a push, which asks for the outcome itself when they end.
    /// - Parameter fromLine: number of the first line wanted, from 0.
    func lines(_ build: BuildID, fromLine: Int) async throws(PaaSError) -> AsyncThrowingStream<String, any Error> {
        let progress = try await attach(try await parts.store.build(build))
        let reader = BuildLogReader(log: parts.log, build: build, fromLine: fromLine, progress: progress)
        return AsyncThrowingStream { try await reader.next() }
    }

    public func outcome(_ build: BuildID) async throws(PaaSError) -> BuildOutcome {
        while true {
            if let outcome = try await decision(build) { return outcome }
            // Its driver stopped without an end: the build stays for the next look, this one included.
            do { try await Task.sleep(for: .milliseconds(500)) } catch {
                throw PaaSError(.cancelled, "waiting for a build was given up")
            }
        }
    }

    /// Waits as `outcome` does; nil when whoever drives the build stopped without an end.
    func decision(_ build: BuildID) async throws(PaaSError) -> BuildOutcome? {
        let known = try await parts.store.build(build)
        guard let progress = try await attach(known) else { return try await settled(known) }
        await progress.waitForEnd()
        if Task.isCancelled { throw PaaSError(.cancelled, "waiting for build \(known.number) was given up") }
        return progress.outcome
    }

    public func purgeCache(_ app: AppID) async throws(PaaSError) {
        if let active = try await active(app) {
            throw PaaSError(
                .conflict,
                "build \(active.number) uses the cache; wait for it or cancel it (paasctl builds cancel \(active.number))"
            )
        }
        try await parts.buildEngine.removeCache(app: app, epoch: parts.epoch)
    }

    /// The app's queued or running build.
    func active(_ app: AppID) async throws(PaaSError) -> Build? {
        try await parts.store.activeBuilds().first { $0.app == app }
    }

    // MARK: The loop

    /// Adopts, repairs and drives builds until the task is cancelled, which leaves every build to the next paasd.
    /// - Throws: `stale` when another paasd is in charge.
    public func run() async throws {
        let (watch, parts, slugsChecked) = (watch, parts, slugsChecked)
        let repair = BuildRepair(parts: parts) { [weak self] id in await self?.opening.contains(id) ?? false }
        let sweep = BuildSweep(parts: parts, watch: watch) { [weak self] id in await self?.isFree(id) == false }
        let following = Task { try await watch.run(parts.engine, epoch: parts.epoch, logger: parts.logger) }
        let others = [
            Task { await self.keepLooking() },
            Task { await repair.run { slugsChecked.open() } },
            Task { await sweep.run() },
        ]
        let result = await withTaskCancellationHandler {
            // Only another paasd in charge ends it by itself.
            let result = await following.result
            for task in others { task.cancel() }
            for task in others { await task.value }
            return result
        } onCancel: {
            following.cancel()
            for task in others { task.cancel() }
        }
        await stopDriving()
        try result.get()
    }

    private func keepLooking() async {
        while !Task.isCancelled {
            await lookAgain()
            do { try await Task.sleep(for: .seconds(2)) } catch { return }
        }
    }

    private func stopDriving() async {
        let all = Array(tasks.values)
        for task in all { task.cancel() }
        for task in all { await task.value }
    }

    /// Takes up what nobody drives, after a start and after failures that left a build to this, and hears of wishes to cancel
    /// that came another way than by `cancel`: with the deletion of the app.
    private func lookAgain() async {
        do throws(PaaSError) {
            let active = try await parts.store.activeBuilds()
            for build in active {
                if let progress = driven[build.id], tasks[build.id] != nil, !progress.cancelRequested {
                    if try await parts.store.cancelRequested(build.id) { progress.requestCancel() }
                } else {
                    takeUp(build.id)
                }
            }
            let awaiting = try await parts.store.buildsAwaitingRef()
            for build in awaiting { takeUp(build.id) }
            let left = Set((active + awaiting).map(\.id))
            retries = retries.filter { left.contains($0.key) }
        } catch {
            if error.code == .notFound { return }
            parts.logger.warning("builds can't be looked at", metadata: ["error": "\(ErrorChain(error))"])
        }
    }

    /// Ever more seldom what is left again and again: a ref that can't be moved must not fill logs.
    private func takeUp(_ id: BuildID) {
        guard isFree(id) else { return }
        let now = ContinuousClock.now
        let count = retries[id]?.count ?? 0
        if let next = retries[id]?.next, now < next { return }
        retries[id] = (count + 1, now + min(.seconds(2) * (1 << min(count, 10)), .seconds(600)))
        drive(id, adopted: true)
    }

    private func isFree(_ id: BuildID) -> Bool { tasks[id] == nil && !opening.contains(id) }

    @discardableResult
    private func drive(_ id: BuildID, adopted wasThere: Bool) -> BuildProgress {
        let progress = BuildProgress()
        driven[id] = progress
        recent.removeAll { $0 == id }
        let (parts, watch, slots, slugsChecked) = (parts, watch, slots, slugsChecked)
        tasks[id] = Task {
            do throws(PaaSError) {
                if wasThere, try await parts.store.cancelRequested(id) { progress.requestCancel() }
            } catch {
                parts.logger.warning("a wish to cancel can't be read yet", metadata: ["error": "\(ErrorChain(error))"])
            }
            let run = BuildRun(
                parts: parts, watch: watch, slots: slots, slugsChecked: slugsChecked, progress: progress, id: id,
                adopted: wasThere)
            await run.run()
            self.ended(id, progress)
        }
        return progress
    }

    private func ended(_ id: BuildID, _ progress: BuildProgress) {
        parts.buildEnded.raise()
        // It may have been taken up anew since its end was told.
        guard driven[id] === progress else { return }
        tasks[id] = nil
        recent.append(id)
        while recent.count > 100 { driven[recent.removeFirst()] = nil }
    }

    /// The progress of a build that is driven; takes up one whose end is not decided; nil for one that is settled.
    private func attach(_ build: Build) async throws(PaaSError) -> BuildProgress? {
        if let progress = driven[build.id], !progress.ended || progress.outcome != nil { return progress }
        switch build.state {
        case .failed, .cancelled: return nil
        case .queued, .running: break
        case .succeeded:
            guard let version = build.release, !build.refMoved else { return nil }
            if try await parts.store.releaseState(build.app, version: version).state == .failed { return nil }
        }
        // The store was asked meanwhile: somebody else may have been quicker.
        if let progress = driven[build.id], !progress.ended { return progress }
        return drive(build.id, adopted: true)
    }

    private func settled(_ build: Build) async throws(PaaSError) -> BuildOutcome {
        guard build.state == .succeeded else {
            return .refused(reason: "build \(build.number) \(build.state.rawValue)")
        }
        guard let version = build.release else {
            guard let slug = build.slug else {
                throw PaaSError(.internal, "build \(build.number) succeeded without a slug")
            }
            return .built(slug)
        }
        if try await parts.store.releaseState(build.app, version: version).state == .failed {
            return .refused(reason: "release v\(version) failed")
        }
        return .released(version: version)
    }
}
