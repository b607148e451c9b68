import Domain
import Logging

/// Drives one build from where it is to its end: opened, built, packed, released, rolled out, ref moved. Every step may be
/// repeated after a restart; what was done is found by looking at store, engine and log.
struct BuildRun: Sendable {
    let parts: BuildParts
    let watch: ContainerWatch
    let slots: BuildSlots
    /// Open once the repair no longer looks at slug files.
    let slugsChecked: Gate
    let progress: BuildProgress
    let id: BuildID
    /// Found after a restart: something of it may be there already.
    let adopted: Bool

    var container: InstanceID { InstanceID(id.uuid) }
    var logger: Logger {
        var logger = parts.logger
        logger[metadataKey: "build"] = "\(id)"
        return logger
    }

    /// Ends with `progress.end`, whatever happens.
    func run() async {
        do throws(BuildStop) {
            // Also of a build that is being cancelled.
            let build = try await persist { () async throws(PaaSError) in try await parts.store.build(id) }
            do throws(BuildStop) {
                progress.end(try await outcome(of: build))
            } catch {
                progress.end(try await end(build, error))
            }
        } catch {
            if case .failed(let reason) = error {
                if reason.code == .notFound { return progress.end(Self.appDeleted) }
                logger.error("a build is left for the next look", metadata: ["error": "\(ErrorChain(reason))"])
            }
            progress.end(nil)
        }
    }

    private func outcome(of build: Build) async throws(BuildStop) -> BuildOutcome {
        switch build.state {
        case .failed, .cancelled:
            return .refused(reason: "build \(build.number) \(build.state.rawValue)")
        case .succeeded:
            return try await Rollout(run: self, build: build).finish()
        case .queued, .running:
            break
        }
        let app = try await step { () async throws(PaaSError) in try await parts.store.app(build.app) }
        let slotted = try await makeSlug(build, app)
        let done = try await release(build, app, slotted)
        await tellPins(app)
        await cleanUp(build, keepCache: true)
        return try await Rollout(run: self, build: done).finish()
    }

    // MARK: Steps 1 to 3: from source to slug

    private func makeSlug(_ build: Build, _ app: App) async throws(BuildStop) -> Slug {
        var found: ContainerObservation?
        if adopted && build.state == .running {
            let seen = try await step { () async throws(PaaSError) in
                try await ContainerWatch.freshList(parts.engine, epoch: parts.epoch)
            }
            found = seen.first { $0.id == container }
            if found == nil {
                let cursor = try await step { () async throws(PaaSError) in try await parts.log.cursor(id) }
                // It had begun to write: what it did to the volume is unknown, and running it twice is not for us to choose.
                guard cursor == nil else {
                    throw .failed(
                        PaaSError(
                            .appFailed, "the host was restarted while the build ran; push again", source: .platform))
                }
            }
        }
        if found != nil {
            slots.takeNow()
        } else {
            try await waitForSlot()
        }
        defer { slots.release() }
        if found == nil { try await startContainer(build, app) }
        let ended = try await follow(app)
        let report = try await takeReport(of: ended)
        return try await pack(build, app, report)
    }

    private func waitForSlot() async throws(BuildStop) {
        let ticket = slots.queue()
        defer { progress.waits(for: nil) }
        var said: Int?
        do throws(BuildStop) {
            while true {
                let version = slots.signal.version
                guard let before = slots.tryTake(ticket) else { return }
                if said != before {
                    said = before
                    progress.waits(for: before)
                    await say("-----> Waiting for \(before) other build\(before == 1 ? "" : "s")")
                }
                // A wish to cancel is seen within half a second.
                await slots.signal.wait(after: version, timeout: .milliseconds(500))
                try await check()
            }
        } catch {
            slots.leave(ticket)
            throw error
        }
    }

    private func startContainer(_ build: Build, _ app: App) async throws(BuildStop) {
        if build.state == .queued {
            try await step { () async throws(PaaSError) in try await parts.store.startBuild(id, now: parts.now()) }
        }
        let settings = parts.settings
        let config = try await step { () async throws(PaaSError) in
            // Only the values are needed; naming the tuple's parts keeps them out of any log.
            try await parts.store.buildConfig(app.id).vars
        }
        if build.source.kind == .git, BuildEnvironment.network(config) == .none {
            throw .failed(
                PaaSError(
                    .appFailed,
                    "the config var \(BuildEnvironment.networkVariable) is none, so the build can't fetch its source; push it, upload it (builds create --tar), or unset the variable"
                ))
        }
        // Else the build fetches or unpacks its source itself.
        let commit = build.source.kind.isInRepository ? build.source.commit : nil
        let switches: SourceSwitches
        do throws(PaaSError) { switches = try SourceSwitches(config) } catch { throw .failed(error) }
        var submodules: String?
        if let commit {
            let facts = try await looseStep { () async throws(PaaSError) in
                try await parts.sources.inspect(app: app.id, commit: commit)
            }
            let notes: [String]
            do throws(PaaSError) {
                notes = try SourceChecks.check(facts, switches, limitBytes: settings.checkoutLimitBytes)
            } catch { throw .failed(error) }
            for note in notes { await say(note) }
            submodules = switches.submodules(of: facts)
        }
        if let note = DiskNote.line(settings) { await say(note) }
        // A volume of an earlier try may hold half a checkout.
        if adopted { try await removeVolume(app.id, keepCache: false) }
        let directory = try await engineStep { () async throws(PaaSError) in
            try await parts.buildEngine.createBuildVolume(
                build: id, app: app.id, uidSlot: app.uidSlot, sizeBytes: settings.buildDiskBytes,
                clearCache: build.options.clearCache, epoch: parts.epoch)
        }
        if let commit {
            try await looseStep { () async throws(PaaSError) in
                try await parts.sources.checkout(
                    app: app.id, commit: commit, into: directory, limitBytes: settings.checkoutLimitBytes,
                    keeping: switches.keptHistory(of: build.source))
            }
            // A broken Procfile shows itself before a long compile.
            if let procfile = try await read("app/Procfile", limit: Procfile.maximumBytes + 1) {
                do throws(PaaSError) { _ = try Procfile(procfile) } catch { throw .failed(error) }
            }
        } else if build.source.kind == .tar {
            try await looseStep { () async throws(PaaSError) in
                try await parts.buildEngine.placeSource(build: id, uidSlot: app.uidSlot, epoch: parts.epoch)
            }
        }
        try await looseStep { () async throws(PaaSError) in
            try await parts.buildEngine.sealSource(build: id, uidSlot: app.uidSlot, epoch: parts.epoch)
        }
        let spec = spec(build, app, config: try await firstConfig(config, build, app), submodules: submodules)
        _ = try await step { () async throws(PaaSError) in try await parts.engine.ensure(spec) }
    }

    private func spec(_ build: Build, _ app: App, config: ConfigVars, submodules: String?) -> ContainerSpec {
        let environment = BuildEnvironment(
            build: build, app: app, config: config, submodules: submodules, parts: parts)
        return ContainerSpec(
            id: container, epoch: parts.epoch, generation: app.generation, role: .build, app: app.id,
            appName: app.name, name: "build.\(build.number)", networkIndex: app.networkIndex, uidSlot: app.uidSlot,
            stack: build.stack, command: "",
            environment: environment.variables,
            environmentFiles: config.sorted { $0.key < $1.key }.map {
                EnvironmentVariable(name: $0.key, value: $0.value.bytes)
            },
            limits: ContainerSpec.Limits(
                memoryBytes: parts.settings.buildMemoryBytes, cpuMillis: 2000, pids: 2048, writableBytes: 256 << 20),
            timeLimitSeconds: parts.settings.buildTimeoutSeconds, network: environment.network)
    }

    private func pack(_ build: Build, _ app: App, _ report: BuildReport) async throws(BuildStop) -> Slug {
        try await step { () async throws(PaaSError) in
            try await parts.engine.stop(container, graceSeconds: 0, epoch: parts.epoch)
        }
        let procfile = try await read("app/Procfile", limit: Procfile.maximumBytes + 1)
        let output = try await read("result/release.yml", limit: ReleaseMetadata.maximumBytes + 1)
        let types: ProcessTypes
        do throws(PaaSError) {
            types = try ProcessTypes(
                procfile: procfile, release: try ReleaseMetadata(output ?? []),
                buildpack: report.displayName ?? "the buildpack")
        } catch { throw .failed(error) }
        for line in types.lines { await sayOnce(line) }
        let manifest = try await manifest(for: types.commands, build, app)
        while !slugsChecked.isOpen {
            let version = slugsChecked.signal.version
            if !slugsChecked.isOpen { await slugsChecked.signal.wait(after: version, timeout: .milliseconds(500)) }
            try await check()
        }
        let evidence = try await evidence(app, report)
        await sayOnce("-----> Compressing...")
        for _ in 0..<Self.packings {
            let packed = try await engineStep { () async throws(PaaSError) in
                try await parts.buildEngine.packSlug(
                    build: id, uidSlot: app.uidSlot, limitBytes: parts.settings.slugLimitBytes, epoch: parts.epoch)
            }
            let slug = Slug(
                digest: packed.digest, stack: build.stack, sizeBytes: packed.sizeBytes, imageBytes: packed.imageBytes,
                processTypes: types.commands, manifest: manifest, createdAt: parts.now())
            guard let kept = try await keep(slug, evidence) else { continue }
            await sayOnce("       Done: \(BuildWords.size(packed.imageBytes))")
            if let comparison = kept.comparison, build.source.kind != .push {
                for line in BuildWords.comparison(slug.digest, comparison) { await sayOnce(line) }
            }
            parts.faults.reached(.slugStored)
            return slug
        }
        throw .failed(PaaSError(.internal, "the slug's file goes again and again", source: .platform))
    }

    /// How often a slug is packed whose file goes while it becomes the build's.
    private static let packings = 3

    private struct KeptSlug {
        var comparison: Build.Comparison?
    }

    /// Records the slug. - Returns: nil if its file went meanwhile: an equal one was there, which nothing needed. Asked before
    /// the row is written, so that no row says that a file is there which is not; the lock keeps it there.
    private func keep(_ slug: Slug, _ evidence: SlugEvidence) async throws(BuildStop) -> KeptSlug? {
        try await step { () async throws(PaaSError) in
            try await parts.slugLock.withLock { () async throws(PaaSError) in
                guard try await parts.buildEngine.listSlugs().contains(slug.digest) else { return nil }
                return KeptSlug(
                    comparison: try await parts.store.recordSlug(slug, evidence: evidence, build: id))
            }
        }
    }

    // MARK: Step 4

    private func release(_ build: Build, _ app: App, _ slug: Slug) async throws(BuildStop) -> Build {
        try await step { () async throws(PaaSError) in
            // An answer that got lost must not make a second release.
            if try await parts.store.build(id).state == .succeeded { return }
            _ = try await parts.store.completeBuild(
                id, slug: slug, portRange: parts.settings.portRange, now: parts.now())
        }
        parts.faults.reached(.releaseRecorded)
        parts.scheduler.wake(app.id)
        return try await step { () async throws(PaaSError) in try await parts.store.build(id) }
    }

    // MARK: The end

    /// The build did not get through: says so, records it, leaves nothing behind.
    private func end(_ build: Build, _ stop: BuildStop) async throws(BuildStop) -> BuildOutcome {
        let state: Build.State
        let error: PaaSError
        switch stop {
        case .interrupted: throw stop
        case .cancelled:
            state = .cancelled
            error = PaaSError(.cancelled, "build \(build.number) was cancelled")
        case .failed(let reason):
            state = .failed
            error = reason
            // Used up is also the host's disk.
            if reason.source == .platform || reason.source == .dependency || reason.code == .exhausted {
                logger.error("a build failed", metadata: ["error": "\(ErrorChain(reason))"])
            }
        }
        let now = try await persist { () async throws(PaaSError) -> Build? in
            do throws(PaaSError) {
                return try await parts.store.build(id)
            } catch  where error.code == .notFound {
                return nil
            }
        }
        guard let now else {
            await cleanUp(build, keepCache: false)
            return Self.appDeleted
        }
        // A release is recorded: the build is final already, and what failed is what comes after it.
        if now.state == .succeeded {
            logger.error("what follows a release failed", metadata: ["error": "\(ErrorChain(error))"])
            for line in BuildWords.error(error.message) { await sayOnce(line) }
            let release = now.release.map { "release v\($0)" } ?? "build \(build.number)"
            return .refused(reason: "\(release): the platform could not follow the rollout")
        }
        do throws(BuildStop) {
            // Before the end is recorded: the app's next build must not run beside this one.
            try await persist { () async throws(PaaSError) in
                try await parts.engine.stop(
                    container, graceSeconds: state == .cancelled ? Self.cancelGraceSeconds : 0, epoch: parts.epoch)
            }
        } catch {
            guard case .failed(let reason) = error else { throw error }
            logger.warning("a build container is left to the sweep", metadata: ["error": "\(ErrorChain(reason))"])
        }
        for line in BuildWords.error(BuildWords.sentence(error.message)) { await say(line) }
        if state == .failed { await say(" !     Build \(build.number) failed; \(try await whatGoesOn(build.app)).") }
        try await persist { () async throws(PaaSError) in
            if try await parts.store.build(id).state.isFinal { return }
            try await parts.store.failBuild(id, state: state, error: ErrorReport(error), now: parts.now())
        }
        await cleanUp(build, keepCache: false)
        // An app that is being deleted waits for this.
        parts.scheduler.wake(build.app)
        return .refused(reason: "build \(build.number) \(state.rawValue)")
    }

    /// From SIGTERM to SIGKILL of a cancelled build: all of it has to be gone within two seconds.
    private static let cancelGraceSeconds = 1

    private static let appDeleted = BuildOutcome.refused(reason: "the app was deleted")

    /// What a pusher whose build or release failed has at that moment.
    func whatGoesOn(_ app: AppID) async throws(BuildStop) -> String {
        let current = try await persist { () async throws(PaaSError) -> Int? in
            do throws(PaaSError) {
                return try await parts.store.app(app).currentRelease
            } catch  where error.code == .notFound {
                return nil
            }
        }
        return current.map { "v\($0) goes on" } ?? "nothing of the app runs yet"
    }

    /// How long the end of a build waits for an engine that is being restarted, before what is left is the sweep's.
    private static let cleanUpPatience = Duration.seconds(10)

    /// Container and volume go. What can't be removed now is removed by the sweep.
    func cleanUp(_ build: Build, keepCache: Bool) async {
        do throws(PaaSError) {
            if build.source.kind == .tar { try await parts.uploads.remove(id) }
        } catch {
            logger.warning("a build's archive is left to the next start", metadata: ["error": "\(ErrorChain(error))"])
        }
        do throws(PaaSError) {
            try await patiently(Self.cleanUpPatience) { () async throws(PaaSError) in
                try await parts.engine.stop(container, graceSeconds: 0, epoch: parts.epoch)
                try await parts.engine.remove(container, epoch: parts.epoch)
                let isKept = keepCache ? try await parts.mayHaveCache(build.app) : false
                try await parts.buildEngine.finishBuildVolume(
                    build: id, app: build.app, keepCache: isKept, epoch: parts.epoch)
            }
        } catch {
            logger.warning("a build's volume can't be removed yet", metadata: ["error": "\(ErrorChain(error))"])
        }
    }

    private func removeVolume(_ app: AppID, keepCache: Bool) async throws(BuildStop) {
        let volumes = try await step { () async throws(PaaSError) in try await parts.buildEngine.listBuildVolumes() }
        guard volumes.contains(id) else { return }
        try await step { () async throws(PaaSError) in
            try await parts.buildEngine.finishBuildVolume(
                build: id, app: app, keepCache: keepCache, epoch: parts.epoch)
        }
    }

    func read(_ path: String, limit: Int) async throws(BuildStop) -> [UInt8]? {
        try await step { () async throws(PaaSError) in
            try await parts.buildEngine.readBuildFile(build: id, path: path, limit: limit)
        }
    }
}
