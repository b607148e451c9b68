import Domain
import Logging

/// Builds as the API and the push see them, and the loop that drives them. One per paasd.
///
/// `run()` first repairs and adopts what an earlier paasd left, then drives every build in a task of its own. Builds may be
/// started before `run()` is called; they wait for it.
public actor BuildCoordinator: BuildService {
    private let parts: BuildParts
    private let watch = ContainerWatch()
    private let slots: BuildSlots
    private let gate = Signal()
    private var adopted = false
    /// Builds that are driven, and those that were until a moment ago.
    private var driven: [BuildID: BuildProgress] = [:]
    private var tasks: [BuildID: Task<Void, Never>] = [:]
    /// Ended ones stay a while for those who ask for the outcome; oldest first.
    private var recent: [BuildID] = []
    /// Pinned, row not yet written: not to be repaired away.
    private var opening: Set<BuildID> = []

    public init(_ parts: BuildParts) {
        self.parts = parts
        slots = BuildSlots(limit: parts.settings.buildConcurrency)
    }

    // MARK: BuildService

    public func start(_ app: App, source: Build.Source, options: Build.Options, actor: Principal)
        async throws(PaaSError) -> Build
    {
        guard actor.mayChangeApps, actor.maySee(space: app.space) else {
            throw PaaSError(.forbidden, "this token may not build \(app.name)")
        }
        guard let commit = source.commit else {
            throw PaaSError(.invalid, "name the commit to build")
        }
        let id = BuildID.random()
        opening.insert(id)
        defer { opening.remove(id) }
        try await parts.sources.pin(app: app.id, build: id, commit: commit)
        parts.faults.reached(.refPinned)
        let build: Build
        do throws(PaaSError) {
            build = try await parts.store.createBuild(
                BuildRequest(id: id, app: app.id, source: source, options: options, createdBy: actor.name),
                now: parts.now())
        } catch {
            // An answer that got lost: the row may be there, and then the pin must stay. The repair at start knows.
            if error.code != .unavailable && error.code != .stale {
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

    public func cancel(_ build: BuildID) async throws(PaaSError) {
        guard try await parts.store.requestCancel(build, now: parts.now()) else {
            let known = try await parts.store.build(build)
            throw PaaSError(.conflict, "build \(known.number) is over (\(known.state.rawValue)) and can't be cancelled")
        }
        driven[build]?.requestCancel()
    }

    public func log(_ build: BuildID, follow: Bool) async throws(PaaSError) -> AsyncThrowingStream<String, any Error> {
        try await log(build, fromLine: 0, follow: follow)
    }

    /// - Parameter fromLine: number of the first line wanted, from 0.
    public func log(_ build: BuildID, fromLine: Int, follow: Bool)
        async throws(PaaSError) -> AsyncThrowingStream<String, any Error>
    {
        let known = try await parts.store.build(build)
        let progress = follow ? try await attach(known) : nil
        let reader = BuildLogReader(log: parts.log, build: build, fromLine: fromLine, progress: progress)
        return AsyncThrowingStream { try await reader.next() }
    }

    public func outcome(_ build: BuildID) async throws(PaaSError) -> BuildOutcome {
        var outcome: BuildOutcome?
        while outcome == nil {
            let known = try await parts.store.build(build)
            guard let progress = try await attach(known) else { return try await settled(known) }
            await progress.waitForEnd()
            outcome = progress.outcome
            if Task.isCancelled { throw PaaSError(.cancelled, "waiting for build \(known.number) was given up") }
            // Its driver stopped without an end: the build stays for the next look, this one included.
            if outcome == nil {
                await progress.signal.wait(after: progress.signal.version, timeout: .milliseconds(500))
            }
        }
        guard let outcome else { throw PaaSError(.internal, "a build ended without an outcome") }
        return outcome
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

    /// Repairs and adopts, then drives builds until the task is cancelled, which leaves every build to the next paasd.
    /// - Throws: `stale` when another paasd is in charge.
    public func run() async throws {
        let (watch, parts) = (watch, parts)
        let following = Task { try await watch.run(parts.engine, epoch: parts.epoch, logger: parts.logger) }
        let looking = Task { try await self.keepLooking() }
        let result = await withTaskCancellationHandler {
            // Only another paasd in charge ends it by itself.
            let result = await following.result
            looking.cancel()
            _ = await looking.result
            return result
        } onCancel: {
            following.cancel()
            looking.cancel()
        }
        await stopDriving()
        try result.get()
    }

    private func keepLooking() async throws(PaaSError) {
        try await adopt()
        while !Task.isCancelled {
            do { try await Task.sleep(for: .seconds(2)) } catch { return }
            await lookAgain()
        }
    }

    private func stopDriving() async {
        let all = Array(tasks.values)
        for task in all { task.cancel() }
        for task in all { await task.value }
    }

    /// Repairs what an earlier paasd left half done and takes over its builds. `run` calls it; calling it before (so that
    /// nothing else is served until it is through) is fine.
    public func adopt() async throws(PaaSError) {
        if adopted { return }
        let repair = BuildRepair(parts: parts)
        try await repair.run(opening: opening)
        adopted = true
        await lookAgain()
        gate.raise()
    }

    /// Takes up what nobody drives: after a start, and after failures that left a build to this.
    private func lookAgain() async {
        do throws(PaaSError) {
            for build in try await parts.store.activeBuilds() where isFree(build.id) { drive(build.id, adopted: true) }
            for build in try await parts.store.buildsAwaitingRef() where isFree(build.id) {
                drive(build.id, adopted: true)
            }
        } catch {
            parts.logger.warning("builds can't be looked at", metadata: ["error": "\(ErrorChain(error))"])
        }
    }

    private func isFree(_ id: BuildID) -> Bool { tasks[id] == nil && !opening.contains(id) }

    @discardableResult
    private func drive(_ id: BuildID, adopted wasThere: Bool) -> BuildProgress {
        let progress = BuildProgress()
        driven[id] = progress
        recent.removeAll { $0 == id }
        let (parts, watch, slots, gate) = (parts, watch, slots, gate)
        tasks[id] = Task {
            // What waits here was started before the repair was through.
            while !self.adopted && !Task.isCancelled {
                let version = gate.version
                if self.adopted { break }
                await gate.wait(after: version)
            }
            do throws(PaaSError) {
                if wasThere, try await parts.store.cancelRequested(id) { progress.requestCancel() }
            } catch {
                parts.logger.warning("a wish to cancel can't be read", metadata: ["error": "\(ErrorChain(error))"])
            }
            let run = BuildRun(
                parts: parts, watch: watch, slots: slots, progress: progress, id: id, adopted: wasThere)
            await run.run()
            self.ended(id)
        }
        return progress
    }

    private func ended(_ id: BuildID) {
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
            guard let version = build.release, !build.refMoved, !build.options.noWait else { return nil }
            let state = try await parts.store.releaseState(build.app, version: version).state
            guard state == .pending || state == .rolling else { return nil }
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
