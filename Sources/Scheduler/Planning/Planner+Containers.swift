import Domain

/// Rows follow what the engine sees, and what has to leave is led out.
extension Planner {
    mutating func followContainers() {
        var lost: [InstanceID] = []
        for row in snapshot.instances.sorted(by: { $0.id < $1.id }) {
            let container = observed[row.id]
            if let kind = row.runKind, row.state != .exited {
                followRun(row, kind, container)
                continue
            }
            switch row.state {
            case .planned: followPlanned(row, container)
            case .starting, .up, .unhealthy:
                guard let container, isSameRun(row, container) else {
                    lost.append(row.id)
                    continue
                }
                followRunning(row, container)
            case .stopping: leadOut(row, container)
            case .crashed:
                if let container, container.state != .exited {
                    stop(row.id)
                } else if !isKept(row) {
                    forget(row, container)
                }
            case .exited: forget(row, container)
            }
        }
        if !lost.isEmpty { actions.append(.unroute(lost, reason: "lost: its container is gone")) }
    }

    /// Starts what is planned and not running yet. Only for rows of a release that is wanted; others are on their way out.
    mutating func startPlanned() {
        for row in snapshot.instances.sorted(by: { ($0.type, $0.index, $0.id) < ($1.type, $1.index, $1.id) })
        where row.state == .planned && !input.busy.contains(row.id) && input.startFailures[row.id] == nil {
            if row.runKind != nil {
                guard run(of: row) != nil else { continue }
            } else {
                guard row.release == candidate?.version || row.release == current?.version else { continue }
            }
            if let container = observed[row.id], container.state != .creating { continue }
            actions.append(.ensure(row.id))
        }
    }

    private mutating func followPlanned(_ row: ProcessInstance, _ container: ContainerObservation?) {
        switch container?.state {
        case .running: if let container { actions.append(.markStarting(row.id, container)) }
        case .exited: if let container { crashed(row, exit: container) }
        case .creating, nil:
            if let failure = input.startFailures[row.id] {
                crashed(row, exitCode: nil, reason: "could not be started: \(failure)")
            }
        }
    }

    private mutating func followRunning(_ row: ProcessInstance, _ container: ContainerObservation) {
        if container.state == .exited {
            crashed(row, exit: container)
        } else if row.state == .starting {
            followStarting(row, container)
        } else if row.state == .up {
            resetIfStable(row)
        }
    }

    private mutating func followStarting(_ row: ProcessInstance, _ container: ContainerObservation) {
        if container.ready && container.state == .running {
            // A process without ports is ready as soon as it runs; in a rollout it has to prove a little more than that.
            let seconds = settleSeconds(row)
            let settled = row.since.adding(seconds: seconds)
            if row.release == candidate?.version, seconds > 0, !isPauseOver(settled, of: seconds) {
                wake(at: settled)
            } else {
                actions.append(.markUp(row.id, container))
            }
            return
        }
        // In a rollout the release is given up as a whole, see decideRollout.
        guard row.release != candidate?.version else { return }
        let deadline = row.since.adding(seconds: input.settings.bootTimeoutSeconds)
        if isOver(deadline, of: input.settings.bootTimeoutSeconds) {
            let seen = StartProblem.notListening(
                row, container, bindings: bindings(of: row.type), bootTimeoutSeconds: input.settings.bootTimeoutSeconds)
            crashed(row, exitCode: nil, reason: seen)
        } else {
            wake(at: deadline)
        }
    }

    /// How long a process of a rollout has to run before it counts.
    private func settleSeconds(_ row: ProcessInstance) -> Double {
        let asked = Double(candidate?.manifest.uptimeSeconds[row.type] ?? 0)
        return bindings(of: row.type).isEmpty ? max(asked, input.settings.settleSeconds) : asked
    }

    private mutating func resetIfStable(_ row: ProcessInstance) {
        guard let upAt = row.upAt, let slot = slot(row.type, row.index, release: row.release), slot.restarts > 0 else {
            return
        }
        let stableAt = upAt.adding(seconds: CrashBackoff.stableAfterSeconds)
        if isPauseOver(stableAt, of: CrashBackoff.stableAfterSeconds) {
            actions.append(.resetSlot(type: row.type, index: row.index))
        } else {
            wake(at: stableAt)
        }
    }

    /// The container is the run that the row tells of, not another one after a reboot or with a reused pid.
    func isSameRun(_ row: ProcessInstance, _ container: ContainerObservation) -> Bool {
        if let bootID = row.bootID, bootID != container.bootID { return false }
        guard let pid = row.pid, let started = row.pidStartTime, let otherPID = container.pid,
            let otherStarted = container.pidStartTime
        else { return true }
        return pid == otherPID && started == otherStarted
    }

    // MARK: Crashes

    func slot(_ type: String, _ index: Int, release: Int) -> AppSnapshot.Slot? {
        snapshot.slots.first { $0.type == type && $0.index == index && $0.release == release }
    }

    private mutating func crashed(_ row: ProcessInstance, exit container: ContainerObservation) {
        let memory = snapshot.formation[row.type]?.memoryBytes
        crashed(row, exitCode: container.exitCode, reason: StartProblem.exitReason(container, memoryBytes: memory))
    }

    private mutating func crashed(_ row: ProcessInstance, exitCode: Int32?, reason: String) {
        let wasStable = row.upAt.map { now.seconds(since: $0) >= CrashBackoff.stableAfterSeconds } ?? false
        let before = wasStable ? 0 : slot(row.type, row.index, release: row.release)?.restarts ?? 0
        let delay = CrashBackoff.delaySeconds(restarts: before + 1)
        actions.append(
            .markCrashed(
                row.id, exitCode: exitCode, reason: reason, restarts: before + 1,
                nextStartAt: now.adding(seconds: delay)))
    }

    /// A crashed row stays to be seen until its successor is there; those of a rollout stay until it is decided, because
    /// they are counted.
    private func isKept(_ row: ProcessInstance) -> Bool {
        guard isWanted(row) else { return false }
        if row.release == candidate?.version { return true }
        guard row.release == current?.version else { return false }
        return !rows(row.type, row.index).contains {
            $0.id != row.id && $0.release == row.release
                && (Self.isLive($0) || ($0.createdAt, $0.id) > (row.createdAt, row.id))
        }
    }

    // MARK: Leaving

    /// Out of the table already: waits for the routers, then for the flows, then stops it.
    mutating func leadOut(_ row: ProcessInstance, _ container: ContainerObservation?) {
        guard let container else {
            if !input.busy.contains(row.id) { left(row, exitCode: nil) }
            return
        }
        if container.state == .exited { return left(row, exitCode: container.exitCode) }
        // A deletion that waits for nothing (any more).
        if let stopBy = snapshot.app.stopBy {
            if now >= stopBy { return stop(row.id) }
            wake(at: stopBy)
        }
        guard let revision = row.unroutedRevision, row.upAt != nil, row.wasRouted else {
            stop(row.id)
            return
        }
        guard routersReached(revision) else {
            wakeForRouters()
            return
        }
        guard mayHaveFlows(row.id, revision) else {
            stop(row.id)
            return
        }
        // The flows have their time from the moment on at which no new ones come.
        guard let stopAt = row.stopAt else {
            let drain = bindings(of: row.type).map(\.drainSeconds).max() ?? PortBinding.defaultDrainSeconds
            actions.append(.setStopAt(row.id, now.adding(seconds: Double(drain))))
            return
        }
        // The ports may have changed since it was set.
        if isOver(stopAt, of: Double(Limits.drainSeconds.upperBound)) {
            stop(row.id)
        } else {
            wake(at: stopAt)
            wakeForRouters()
        }
    }

    private mutating func left(_ row: ProcessInstance, exitCode: Int32?) {
        if let kind = row.runKind {
            let end = ReleaseRunEnd(
                kind: kind, version: row.release, instance: row.id, result: .stopped, exitCode: exitCode)
            actions.append(.endRun(end))
        } else {
            actions.append(.markExited(row.id, exitCode: exitCode))
        }
    }

    private func mayHaveFlows(_ id: InstanceID, _ revision: Int64) -> Bool {
        input.routers.contains { router in
            guard !isGivenUp(router) else { return false }
            guard let draining = router.draining, router.revision >= revision else { return true }
            return (draining[id] ?? 0) > 0
        }
    }

    private mutating func stop(_ id: InstanceID) {
        var grace = input.settings.graceSeconds
        if let stopBy = snapshot.app.stopBy { grace = min(grace, max(0, Int(stopBy.seconds(since: now).rounded(.up)))) }
        if input.busy.contains(id) {
            // A stop under way is asked for again only by a deletion that leaves it less time.
            guard snapshot.app.stopBy != nil, let killAt = input.stopping[id],
                now.adding(seconds: Double(grace) + 2) < killAt
            else { return }
        }
        actions.append(.stop(id, graceSeconds: grace))
    }

    /// Ended: the container goes first, its address with it, then the row.
    private mutating func forget(_ row: ProcessInstance, _ container: ContainerObservation?) {
        guard !input.busy.contains(row.id) else { return }
        if let container, container.state != .exited {
            stop(row.id)
        } else if addressIsFree(row.unroutedRevision) {
            actions.append(container == nil ? .removeInstance(row.id) : .remove(row.id))
        }
    }
}
