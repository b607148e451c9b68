import Domain

/// Runs of releases: the release phase before a rollout, the postdeploy script after the first one.
///
/// A run has one instance ever, whose row is written before the engine is asked. The engine remembers every container that it
/// made until it is told to forget it, so that within one boot of the host a row without a container never ran. After a reboot
/// nobody can tell: the run fails and says so.
extension Planner {
    /// The candidate once its processes may start: its release phase succeeded or it has none, and no release phase of an earlier
    /// release is left, whose changes could come after it.
    static func rolling(_ snapshot: AppSnapshot) -> Release? {
        guard let candidate = snapshot.candidate else { return nil }
        let isAwaited = snapshot.runs.contains { $0.kind == .release && $0.version == candidate.version }
        return isAwaited || hasOtherReleasePhase(snapshot, than: candidate.version) ? nil : candidate
    }

    private static func hasOtherReleasePhase(_ snapshot: AppSnapshot, than version: Int) -> Bool {
        snapshot.instances.contains {
            $0.runKind == .release && $0.release != version && $0.state != .exited && $0.state != .crashed
        }
    }

    /// The run that a row belongs to, as long as it is wanted.
    func run(of row: ProcessInstance) -> ReleaseRun? {
        snapshot.app.deleting ? nil : snapshot.runs.first { $0.instance == row.id && $0.state == .running }
    }

    mutating func beginRuns() {
        guard !snapshot.app.deleting else { return }
        for run in snapshot.runs where run.state == .pending {
            if run.kind == .release {
                guard let candidate = snapshot.candidate, candidate.version == run.version else { continue }
                if candidate.state == .pending {
                    actions.append(.markRolling(version: run.version))
                    return
                }
                // The earlier one is being stopped.
                if Self.hasOtherReleasePhase(snapshot, than: run.version) { continue }
            }
            actions.append(.beginRun(run.kind, version: run.version))
            return
        }
    }

    mutating func followRun(_ row: ProcessInstance, _ kind: ReleaseRun.Kind, _ container: ContainerObservation?) {
        if row.state == .stopping || row.state == .crashed { return leadOut(row, container) }
        guard run(of: row) != nil else {
            let reason = snapshot.app.deleting ? "the app is being deleted" : "a newer release took its place"
            actions.append(.unroute([row.id], reason: reason))
            return
        }
        if row.state == .planned {
            followPlannedRun(row, kind, container)
        } else if let container, isSameRun(row, container) {
            followRunningRun(row, kind, container)
        } else {
            fail(row, kind, StartProblem.unknownEnd(row))
        }
    }

    private mutating func followPlannedRun(
        _ row: ProcessInstance, _ kind: ReleaseRun.Kind, _ container: ContainerObservation?
    ) {
        switch container?.state {
        case .running: if let container { actions.append(.markStarting(row.id, container)) }
        case .exited: if let container { ended(row, kind, container) }
        case .creating, nil:
            if let failure = input.startFailures[row.id] {
                return fail(row, kind, "\(row.name) could not be started: \(failure)")
            }
            if container == nil, let bootID = input.bootID, let planned = row.bootID, planned != bootID {
                return fail(row, kind, StartProblem.unknownEnd(row))
            }
            // As for a process in a rollout, see `failure`.
            let timeout = input.settings.bootTimeoutSeconds
            let error = input.startErrors[row.id]
            let limit = error == nil ? Self.patience * timeout : timeout
            let deadline = max(row.since, input.engineSince ?? row.since).adding(seconds: limit)
            if isOver(deadline, of: limit) {
                // It may be about to start.
                fail(row, kind, StartProblem.notStarted(row, error, seconds: limit), isOver: false)
            } else {
                wake(at: deadline)
            }
        }
    }

    private mutating func followRunningRun(
        _ row: ProcessInstance, _ kind: ReleaseRun.Kind, _ container: ContainerObservation
    ) {
        if container.state == .exited {
            ended(row, kind, container)
        } else if row.state == .starting, container.state == .running {
            actions.append(.markUp(row.id, container))
        }
    }

    private mutating func ended(_ row: ProcessInstance, _ kind: ReleaseRun.Kind, _ container: ContainerObservation) {
        if container.exitCode == 0 && !container.timedOut {
            actions.append(
                .endRun(
                    ReleaseRunEnd(
                        kind: kind, version: row.release, instance: row.id, result: .succeeded, exitCode: 0)))
            return
        }
        if container.exitCode == nil && !container.timedOut { return fail(row, kind, StartProblem.unknownEnd(row)) }
        let reason = StartProblem.run(row, container, timeoutSeconds: input.settings.releaseTimeoutSeconds)
        fail(row, kind, reason, exitCode: container.exitCode)
    }

    private mutating func fail(
        _ row: ProcessInstance, _ kind: ReleaseRun.Kind, _ reason: String, exitCode: Int32? = nil, isOver: Bool = true
    ) {
        actions.append(
            .endRun(
                ReleaseRunEnd(
                    kind: kind, version: row.release, instance: row.id, result: .failed(reason), exitCode: exitCode,
                    isOver: isOver)))
    }

    /// What was asked for is of process types that only the candidate has, and its release phase decides.
    func awaitsReleasePhase(_ operation: Operation) -> Bool {
        guard let candidate = snapshot.candidate, self.candidate == nil else { return false }
        return snapshot.formation.contains { type, entry in
            guard entry.quantity > 0, candidate.processTypes[type] != nil else { return false }
            guard current?.processTypes[type] == nil else { return false }
            return (1...entry.quantity).contains { operation.concerns(type, $0) }
        }
    }
}
