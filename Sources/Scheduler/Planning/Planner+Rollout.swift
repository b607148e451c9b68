import Domain

/// The rollout of a release: begun, given up, concluded.
extension Planner {
    /// How often a process of a release that rolls out may be started before the release is given up.
    static let candidateStarts = 2

    func isCandidate(_ release: Release) -> Bool { release.version == candidate?.version }

    /// Rows of the rollout's crashes in one place; they are kept until it is decided.
    func candidateCrashes(_ type: String, _ index: Int) -> [ProcessInstance] {
        guard let candidate else { return [] }
        return rows(type, index).filter { $0.release == candidate.version && $0.state == .crashed }.sorted {
            ($0.since, $0.id) < ($1.since, $1.id)
        }
    }

    private var candidateTargets: [Target] { targets.filter { isCandidate($0.release) } }

    /// Begins a rollout, or gives it up when a process was seen to fail.
    mutating func decideRollout() {
        guard let candidate else { return }
        if candidateTargets.isEmpty {
            actions.append(.markCurrent(version: candidate.version))
            return
        }
        if candidate.state == .pending {
            actions.append(.markRolling(version: candidate.version))
            return
        }
        for target in candidateTargets {
            for index in 1...target.quantity {
                if let (summary, instance) = failure(target.type, index) {
                    actions.append(.failRelease(version: candidate.version, summary: summary, instance: instance))
                    return
                }
            }
        }
    }

    private mutating func failure(_ type: String, _ index: Int) -> (String, InstanceID)? {
        let crashes = candidateCrashes(type, index)
        if crashes.count >= Self.candidateStarts, let last = crashes.last {
            return (StartProblem.crash(last), last.id)
        }
        let timeout = input.settings.bootTimeoutSeconds
        for row in live(type, index) where isCandidate(version: row.release) {
            // The second start has what the first one left of the time.
            var begin = min(crashes.filter { $0.upAt == nil }.map(\.createdAt).min() ?? row.since, row.since)
            let container = observed[row.id]
            let summary: String
            let limit: Double
            switch row.state {
            case .starting:
                if let container, container.ready { continue }
                limit = timeout
                summary = StartProblem.notListening(
                    row, container, bindings: bindings(of: type), bootTimeoutSeconds: timeout)
            case .planned:
                // Nothing can be started while the engine is away.
                if let since = input.engineSince { begin = max(begin, since) }
                // One that was not refused may just be waiting for its turn.
                limit = input.startErrors[row.id] == nil ? Self.patience * timeout : timeout
                summary = StartProblem.notStarted(row, input.startErrors[row.id], seconds: limit)
            default: continue
            }
            let deadline = begin.adding(seconds: limit)
            if isOver(deadline, of: limit) { return (summary, row.id) }
            wake(at: deadline)
        }
        return nil
    }

    private func isCandidate(version: Int) -> Bool { version == candidate?.version }

    /// Makes the release current once all its processes serve.
    mutating func concludeRollout() {
        guard let candidate else { return }
        var serving = 0
        var wanted = 0
        for target in candidateTargets {
            wanted += target.quantity
            serving +=
                (1...target.quantity).filter { index in
                    live(target.type, index).contains { $0.release == candidate.version && isServing($0) }
                }.count
        }
        if serving == wanted {
            actions.append(.markCurrent(version: candidate.version))
        } else if let id = candidate.operation {
            progress(of: id, serving, wanted)
        }
    }

    mutating func progress(of id: OperationID, _ done: Int, _ wanted: Int) {
        guard wanted > 0, let operation = snapshot.operations.first(where: { $0.id == id }) else { return }
        let progress = Double(done) / Double(wanted)
        if abs(progress - operation.progress) >= 0.005 { actions.append(.setProgress(id, progress)) }
    }
}
