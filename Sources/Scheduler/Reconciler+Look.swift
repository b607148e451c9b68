import Domain
import Logging
import Synchronization

/// One look at one app, and the calls of the engine that come of it.
extension Reconciler {
    func look(_ app: AppID) async throws {
        repeat {
            state.withLock { $0.queue.begin(app) }
            do {
                try await planAndPerform(app)
            } catch  where (error as? PaaSError)?.code != .stale && !(error is CancellationError) {
                let seconds = state.withLock { $0.queue.failed(app) }
                logger.warning(
                    "an app can't be brought to its wanted state now",
                    metadata: ["app": "\(app)", "retryInSeconds": "\(seconds)", "error": "\(ErrorChain(error))"])
                schedule(app, at: performer.now().adding(seconds: seconds))
                return
            }
        } while state.withLock { $0.queue.succeeded(app) }
    }

    private func schedule(_ app: AppID, at time: Timestamp) {
        if state.withLock({ $0.queue.schedule(app, at: time) }) { enqueue.yield(.timer(app, time)) }
    }

    private func planAndPerform(_ app: AppID) async throws {
        for _ in 0..<Self.plansInARow {
            // The engine's view is taken first: every container in it has had its row by then.
            var input = input(app)
            guard input.observed != nil else { return }
            let snapshot = try await performer.store.snapshot(app)
            input.snapshot = snapshot
            input.now = performer.now()
            let plan = Planner.plan(input)
            remember(app, snapshot)
            for action in plan.actions {
                if action.isEngineCall {
                    launch(app, action, snapshot)
                } else {
                    apply(try await performer.perform(action, in: snapshot))
                }
            }
            if plan.changesStore { continue }
            if let time = plan.wakeAt { schedule(app, at: time) }
            return
        }
        throw PaaSError(.internal, "the wanted state was not reached after \(Self.plansInARow) plans", retry: .safe)
    }

    private func input(_ app: AppID) -> PlannerInput {
        state.withLock { state in
            // Before anything is read, so that no news can be missed meanwhile; see `remember`.
            state.waitingForRouters.insert(app)
            let containers = state.engine.containers(of: app)
            if containers == nil { state.waitingForEngine.insert(app) }
            return PlannerInput(
                snapshot: nil, observed: containers, bootID: bootID, engineSince: state.engineSince,
                buildRuns: state.engine.buildRuns(of: app),
                routers: state.routers.facts(),
                upRevisions: state.upRevisions, baseRevision: state.baseRevision,
                busy: Set(state.busy.lazy.filter { $0.value.app == app }.map(\.key)),
                stopping: state.busy.compactMapValues { $0.app == app ? $0.killAt : nil },
                startFailures: state.startFailures, startErrors: state.callFailures.compactMapValues(\.startError),
                now: performer.now(), settings: settings)
        }
    }

    /// Notes whether news of routers concern the app.
    private func remember(_ app: AppID, _ snapshot: AppSnapshot?) {
        let waits = snapshot.map { !$0.instances.isEmpty && ($0.candidate != nil || $0.isUnsettled) } ?? true
        state.withLock { state in
            let isGone = snapshot == nil && state.engine.containers(of: app)?.isEmpty == true
            if !waits || isGone { state.waitingForRouters.remove(app) }
        }
    }

    private func apply(_ effect: ActionPerformer.Effect) {
        switch effect {
        case .none: return
        case .routed(let id, let revision):
            state.withLock { $0.upRevisions[id] = revision }
            publisher.tableChanged()
        case .unrouted: publisher.tableChanged()
        case .observed(let container): state.withLock { $0.engine.put(container) }
        case .stopped: return
        case .forgotten(let id): state.withLock { $0.engine.forget(id) }
        case .rowRemoved(let id):
            state.withLock { state in
                state.upRevisions[id] = nil
                state.startFailures[id] = nil
                state.callFailures[id] = nil
            }
        }
    }

    // MARK: Calls of the engine

    private func launch(_ app: AppID, _ action: Action, _ snapshot: AppSnapshot?) {
        let id: InstanceID
        let kind: Call.Kind
        var killAt: Timestamp?
        switch action {
        case .ensure(let started): (id, kind) = (started, .ensure)
        case .stop(let stopped, let grace):
            (id, kind) = (stopped, .stop)
            killAt = performer.now().adding(seconds: Double(grace))
        case .remove(let removed): (id, kind) = (removed, .remove)
        default: return
        }
        let number = state.withLock { state -> Int? in
            if let underWay = state.busy[id] {
                guard let present = underWay.killAt, let killAt, killAt < present else { return nil }
            } else {
                let running = state.busy.values.filter { $0.app == app && $0.kind == kind && !$0.awaitsExit }.count
                // The others are planned again when one of these has ended.
                guard running < (kind == .stop ? Self.stopsAtOnce : Self.startsAtOnce) else { return nil }
            }
            state.callCount += 1
            state.busy[id] = Call(app: app, kind: kind, killAt: killAt, number: state.callCount)
            return state.callCount
        }
        if let number { enqueue.yield(.call(app, action, id, number: number, snapshot)) }
    }

    func call(_ app: AppID, _ action: Action, _ id: InstanceID, _ number: Int, _ snapshot: AppSnapshot?) async throws {
        do {
            let effect = try await performer.perform(action, in: snapshot)
            apply(effect)
            let waits = state.withLock { state in
                state.callFailures[id] = nil
                guard state.busy[id]?.number == number else { return false }
                // The event of its end is on its way; until then there is nothing to do with it.
                if case .stopped = effect, let container = state.engine.container(id), container.state != .exited {
                    state.busy[id]?.awaitsExit = true
                    return true
                }
                state.busy[id] = nil
                return false
            }
            if waits { enqueue.yield(.giveUpWaiting(app, id, afterSeconds: 5)) }
        } catch {
            if error.code == .stale { throw error }
            try await failed(app, action, id, number, error)
        }
        wake(app)
    }

    private func failed(
        _ app: AppID, _ action: Action, _ id: InstanceID, _ number: Int, _ error: PaaSError
    ) async throws {
        logger.warning(
            "a call of the engine failed",
            metadata: ["app": "\(app)", "instance": "\(id)", "error": "\(ErrorChain(error))"])
        if case .ensure = action, error.retry == .never {
            state.withLock { state in
                state.startFailures[id] = error.message
                state.busy[id] = nil
            }
            return
        }
        let failures = state.withLock { state in
            var failure = state.callFailures[id] ?? CallFailure()
            failure.count += 1
            if case .ensure = action { failure.startError = error.message }
            state.callFailures[id] = failure
            return failure.count
        }
        // The planner may have to give up a rollout for it. The container stays busy meanwhile, so that the pause is kept.
        wake(app)
        try await sleep(Backoff.seconds(failures: failures))
        state.withLock { if $0.busy[id]?.number == number { $0.busy[id] = nil } }
    }
}

extension AppSnapshot {
    /// Something in it may wait for an acknowledgement.
    fileprivate var isUnsettled: Bool {
        !operations.isEmpty
            || instances.contains { row in
                row.state != .up || row.replaceRequested || (current.map { row.release != $0.version } ?? true)
            }
    }
}
