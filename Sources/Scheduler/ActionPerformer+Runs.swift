import Domain

/// Runs of releases: begun, started, ended with what they wrote.
extension ActionPerformer {
    /// Lines of a run's log that are looked at for its output.
    static let outputLines = 5000

    func beginRun(_ kind: ReleaseRun.Kind, _ version: Int, _ snapshot: AppSnapshot) async throws(PaaSError) {
        let time = now()
        let row = ProcessInstance(
            id: makeID(), app: snapshot.app.id, type: kind.rawValue, index: version, release: version,
            generation: snapshot.app.generation, epoch: epoch, state: .planned, bootID: bootID, createdAt: time,
            since: time)
        try await store.beginRun(kind, version: version, instance: row, epoch: epoch, now: time)
        faults.reached(.instancePlanned)
        let run = snapshot.runs.first { $0.kind == kind && $0.version == version }
        say("Starting \(row.name) with command `\(run?.command ?? "")`", row)
    }

    func ensureRun(_ row: ProcessInstance, _ snapshot: AppSnapshot) async throws(PaaSError) -> Effect {
        guard let run = snapshot.runs.first(where: { $0.instance == row.id }) else {
            throw PaaSError(.internal, "\(row.name) has no run", retry: .afterRefresh)
        }
        // A postdeploy script may outlast its release.
        let release = try await store.release(snapshot.app.id, version: row.release)
        let config = try await store.configVars(snapshot.app.id, version: release.configVersion)
        let spec = SpecFactory.spec(
            for: row, run: run, release: release, config: config, in: snapshot, epoch: epoch,
            timeLimitSeconds: releaseTimeoutSeconds)
        return .observed(try await engine.ensure(spec))
    }

    func endRun(_ end: ReleaseRunEnd, _ snapshot: AppSnapshot) async throws(PaaSError) {
        let output = try await output(of: end, snapshot)
        try await store.endRun(snapshot.app.id, end, output: output, epoch: epoch, now: now())
        guard let row = row(end.instance, snapshot) else { return }
        if let code = end.exitCode { say("Process exited with status \(code)", row) }
        guard case .failed(let reason) = end.result else { return }
        say("State changed from \(row.state.rawValue) to failed: \(reason)", row)
        if end.kind == .release { say("Release v\(end.version) failed: \(reason)", snapshot) }
    }

    /// What the run wrote. An engine that is away is waited for; nothing else keeps a run from ending.
    private func output(of end: ReleaseRunEnd, _ snapshot: AppSnapshot) async throws(PaaSError) -> String {
        do {
            let page = try await engine.logs(
                app: snapshot.app.id, instance: end.instance, after: nil, limit: Self.outputLines)
            let lines = page.lines.filter { $0.source == .app }.map(\.text)
            return ReleaseRun.keptOutput(lines, isWhole: page.lines.count < Self.outputLines)
        } catch {
            if error.retry == .safe || error.code == .stale { throw error }
            return "(the output of \(end.name) can't be read: \(error.message))"
        }
    }
}
