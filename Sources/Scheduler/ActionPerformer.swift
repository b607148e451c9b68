import Domain

/// Does what a plan says, one action at a time: nothing is decided here.
struct ActionPerformer: Sendable {
    /// What the planner needs to know of an action that was done, besides what the store tells.
    enum Effect: Sendable, Hashable {
        case none
        /// Came into the table with this revision.
        case routed(InstanceID, Int64)
        /// The table changed.
        case unrouted
        case observed(ContainerObservation)
        case stopped(InstanceID)
        case forgotten(InstanceID)
        case rowRemoved(InstanceID)
    }

    let store: any SchedulerStore
    let engine: any ContainerEngine
    let faults: any FaultInjector
    let log: any LogSink
    let cleanup: any AppCleanup
    let epoch: Int64
    let now: @Sendable () -> Timestamp
    let makeID: @Sendable () -> InstanceID
    /// Of this host, for rows of runs.
    var bootID: String?
    /// Longest run of a release.
    var releaseTimeoutSeconds = 3600

    /// Last log lines that the report of a failed release holds.
    static let reportedLines = 20

    func perform(_ action: Action, in snapshot: AppSnapshot?) async throws(PaaSError) -> Effect {
        switch action {
        case .stop(let id, let grace):
            if row(id, snapshot)?.state == .stopping { faults.reached(.unrouted) }
            if let row = row(id, snapshot) { say("Stopping all processes with SIGTERM", row) }
            try await engine.stop(id, graceSeconds: grace, epoch: epoch)
            return .stopped(id)
        case .remove(let id):
            try await engine.remove(id, epoch: epoch)
            return .forgotten(id)
        default: break
        }
        guard let snapshot else { throw PaaSError(.internal, "an action for an app that is gone") }
        switch action {
        case .ensure(let id): return try await ensure(id, snapshot)
        case .create, .markStarting, .markUp, .unroute, .setStopAt, .markCrashed, .markExited, .removeInstance,
            .resetSlot:
            return try await performOnInstances(action, snapshot)
        case .beginRun(let kind, let version):
            try await beginRun(kind, version, snapshot)
            return .none
        case .endRun(let end):
            try await endRun(end, snapshot)
            return .unrouted
        default:
            try await performOnApp(action, snapshot)
            return .none
        }
    }

    // MARK: Instances

    private func performOnInstances(_ action: Action, _ snapshot: AppSnapshot) async throws(PaaSError) -> Effect {
        switch action {
        case .create(let new): try await create(new, snapshot)
        case .markStarting(let id, let container):
            try await store.markStarting(id, container, epoch: epoch, now: now())
            faults.reached(.instanceStarted)
        case .markUp(let id, let container):
            let revision = try await store.markUp(id, container, epoch: epoch, now: now())
            faults.reached(.instanceUp)
            if let row = row(id, snapshot) { say("State changed from starting to up", row) }
            return .routed(id, revision)
        case .unroute(let ids, let reason):
            _ = try await store.unroute(ids, reason: reason, epoch: epoch, now: now())
            for id in ids {
                if let row = row(id, snapshot) {
                    say("State changed from \(row.state.rawValue) to stopping: \(reason)", row)
                }
            }
            return .unrouted
        case .setStopAt(let id, let time): try await store.setStopAt(id, time, epoch: epoch)
        case .markCrashed(let id, let code, let reason, let restarts, let next):
            _ = try await store.markCrashed(
                id, exitCode: code, reason: reason, slotRestarts: restarts, nextStartAt: next, epoch: epoch, now: now())
            if let row = row(id, snapshot) {
                if let code { say("Process exited with status \(code)", row) }
                say("State changed from \(row.state.rawValue) to crashed: \(reason)", row)
            }
            return .unrouted
        case .markExited(let id, let code):
            try await store.markExited(id, exitCode: code, epoch: epoch, now: now())
            if let code, let row = row(id, snapshot) { say("Process exited with status \(code)", row) }
        case .removeInstance(let id):
            try await store.removeInstance(id, epoch: epoch)
            return .rowRemoved(id)
        case .resetSlot(let type, let index):
            try await store.resetSlot(snapshot.app.id, type: type, index: index, epoch: epoch)
        default: break
        }
        return .none
    }

    private func create(_ new: [NewInstance], _ snapshot: AppSnapshot) async throws(PaaSError) {
        let time = now()
        let rows = new.map { instance in
            ProcessInstance(
                id: makeID(), app: snapshot.app.id, type: instance.type, index: instance.index,
                release: instance.release, generation: snapshot.app.generation, epoch: epoch, state: .planned,
                restarts: instance.restarts, createdAt: time, since: time)
        }
        try await store.insertPlanned(rows, epoch: epoch)
        faults.reached(.instancePlanned)
        for row in rows {
            let release = [snapshot.candidate, snapshot.current].compactMap { $0 }.first { $0.version == row.release }
            say("Starting process of v\(row.release) with command `\(release?.processTypes[row.type] ?? "")`", row)
        }
    }

    private func ensure(_ id: InstanceID, _ snapshot: AppSnapshot) async throws(PaaSError) -> Effect {
        if let row = row(id, snapshot), row.runKind != nil { return try await ensureRun(row, snapshot) }
        guard let row = row(id, snapshot),
            let release = [snapshot.candidate, snapshot.current].compactMap({ $0 }).first(where: {
                $0.version == row.release
            })
        else { throw PaaSError(.internal, "instance \(id) has no release to start", retry: .afterRefresh) }
        let config = try await store.configVars(snapshot.app.id, version: release.configVersion)
        let spec = try SpecFactory.spec(for: row, release: release, config: config, in: snapshot, epoch: epoch)
        return .observed(try await engine.ensure(spec))
    }

    // MARK: Releases, operations, the app

    private func performOnApp(_ action: Action, _ snapshot: AppSnapshot) async throws(PaaSError) {
        let app = snapshot.app.id
        switch action {
        case .markRolling(let version):
            try await store.markRolling(app, version: version, epoch: epoch, now: now())
            say("Release v\(version) is rolling out", snapshot)
        case .markCurrent(let version):
            try await store.markCurrent(app, version: version, epoch: epoch, now: now())
            say("Release v\(version) is current", snapshot)
        case .failRelease(let version, let summary, let instance):
            let output = summary + (await lastLines(of: instance, snapshot))
            try await store.markReleaseFailed(app, version: version, output: output, epoch: epoch, now: now())
            say("Release v\(version) failed: \(summary)", snapshot)
        case .setProgress(let id, let progress):
            try await store.setOperationProgress(id, progress, epoch: epoch)
        case .finishOperation(let id, let state, let error):
            try await store.finishOperation(id, state: state, error: error, epoch: epoch, now: now())
        case .removeApp(let operations):
            try await cleanup.cleanUp(snapshot.app)
            try await engine.removeLogs(app: app, epoch: epoch)
            let removed = try await store.removeApp(app, epoch: epoch, now: now())
            for id in operations {
                do {
                    try await store.finishOperation(id, state: .completed, error: nil, epoch: epoch, now: now())
                } catch {
                    // The store may have removed it together with the app.
                    if error.code != .notFound { throw error }
                }
            }
            if let removed { try await cleanup.removeFiles(of: removed) }
        default: break
        }
    }

    /// A release has failed whether its log can be read or not.
    private func lastLines(of id: InstanceID, _ snapshot: AppSnapshot) async -> String {
        let name = row(id, snapshot)?.name ?? "the process"
        do {
            let page = try await engine.logs(
                app: snapshot.app.id, instance: id, after: nil, limit: Self.reportedLines)
            let lines = page.lines.filter { $0.source == .app }.suffix(Self.reportedLines)
            if lines.isEmpty { return "\n\(name) wrote nothing" }
            return "\nLast lines of \(name):\n" + lines.map(\.text).joined(separator: "\n")
        } catch {
            return "\nThe last lines of \(name) can't be read now: \(error.message)"
        }
    }

    func row(_ id: InstanceID, _ snapshot: AppSnapshot?) -> ProcessInstance? {
        snapshot?.instances.first { $0.id == id }
    }

    func say(_ text: String, _ row: ProcessInstance) {
        log.append(app: row.app, LogLine(time: now(), source: .platform, process: row.name, text: text))
    }

    func say(_ text: String, _ snapshot: AppSnapshot) {
        log.append(
            app: snapshot.app.id, LogLine(time: now(), source: .platform, process: "scheduler", text: text))
    }
}
