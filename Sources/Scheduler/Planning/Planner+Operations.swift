import Domain

/// Operations are concluded when what they asked for is so, or can't become so.
extension Planner {
    /// A call for a number of processes fails after this many boot timeouts; the platform goes on trying.
    static let patience = 3.0

    mutating func concludeOperations() {
        if snapshot.app.deleting {
            if snapshot.instances.isEmpty && observed.isEmpty && !snapshot.hasActiveBuild && !input.buildRuns {
                actions.append(
                    .removeApp(operations: snapshot.operations.filter { $0.kind == .deleteApp }.map(\.id)))
            }
            return
        }
        for operation in snapshot.operations {
            switch operation.kind {
            case .scale: concludeCount(operation, surplusMatters: true)
            case .replaceProcess: concludeCount(operation, surplusMatters: false)
            case .release, .config: concludeSuperseded(operation)
            default: break
            }
        }
    }

    private mutating func concludeCount(_ operation: Operation, surplusMatters: Bool) {
        var wanted = 0
        var serving = 0
        var problem: String?
        for target in targets {
            for index in 1...target.quantity where operation.concerns(target.type, index) {
                wanted += 1
                let live = live(target.type, index)
                if live.contains(where: { isServing($0) && !$0.replaceRequested }) {
                    serving += 1
                } else {
                    problem = problem ?? backingOff(target, index)
                }
            }
        }
        let concerned = snapshot.instances.filter {
            Self.isLive($0) && $0.runKind == nil && operation.concerns($0.type, $0.index)
        }
        if awaitsReleasePhase(operation) { return }
        let isReplaced = !concerned.contains { $0.replaceRequested }
        let isSurplusGone = concerned.allSatisfy(isWanted)
        if serving == wanted && (surplusMatters ? isSurplusGone : isReplaced) {
            actions.append(.finishOperation(operation.id, state: .completed, error: nil))
            return
        }
        let deadline = operation.startedAt.adding(seconds: Self.patience * input.settings.bootTimeoutSeconds)
        if let problem {
            fail(operation, problem)
        } else if isOver(deadline, of: Self.patience * input.settings.bootTimeoutSeconds) && candidate == nil {
            let reasons = concerned.sorted { ($0.type, $0.index) < ($1.type, $1.index) }.compactMap { row in
                input.startErrors[row.id].map { "; \(row.name) could not be started: \($0)" }
            }
            let seconds = Int(max(0, now.seconds(since: operation.startedAt)))
            fail(operation, "\(serving) of \(wanted) processes are up after \(seconds) s\(reasons.first ?? "")")
        } else {
            wake(at: deadline)
            progress(of: operation.id, serving, wanted)
        }
    }

    /// Why a place is empty that crashed so often that it is not refilled at once.
    private func backingOff(_ target: Target, _ index: Int) -> String? {
        guard !isCandidate(target.release),
            let slot = slot(target.type, index, release: target.release.version),
            slot.restarts > CrashBackoff.freeRestarts
        else { return nil }
        let last = rows(target.type, index).filter { $0.state == .crashed }.max { $0.since < $1.since }
        let seen = last.map(StartProblem.crash) ?? "\(target.type).\(index) keeps crashing"
        return "\(seen); it was restarted \(slot.restarts - 1) times"
    }

    private mutating func fail(_ operation: Operation, _ what: String) {
        let message = "\(what). The platform goes on trying; see the app's logs"
        actions.append(
            .finishOperation(operation.id, state: .failed, error: ErrorReport(code: .appFailed, message: message)))
    }

    /// The rollout of a release that a newer one took the place of.
    private mutating func concludeSuperseded(_ operation: Operation) {
        guard let part = operation.target.split(separator: "/").last, operation.target.contains("/releases/"),
            let version = Int(part.hasPrefix("v") ? part.dropFirst() : part)
        else { return }
        guard version != snapshot.candidate?.version, let newest = snapshot.candidate ?? snapshot.current else {
            return
        }
        if version == snapshot.current?.version {
            actions.append(.finishOperation(operation.id, state: .completed, error: nil))
        } else if version < newest.version {
            let report = ErrorReport(
                code: .cancelled, message: "release v\(version) was superseded by v\(newest.version)")
            actions.append(.finishOperation(operation.id, state: .cancelled, error: report))
        }
    }
}
