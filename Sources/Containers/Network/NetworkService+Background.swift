import Domain
import Logging
import OS
import Synchronization

extension NetworkService {
    /// Does what is due, and says in how many seconds there is more.
    func step() -> Double {
        let now = Monotonic.now()
        freeRested(now)
        refill(now)
        retireIdle(now)
        check(now)
        return state.withLock { state in
            let ends = state.resting.values.map { Self.end(of: $0) }
            let inUse = Set(state.attached.values.map(\.networkIndex))
            let idle = state.lastUse.filter { !inUse.contains($0.key) }.map { $0.value + options.idleSeconds }
            var next = min(ends.min() ?? .infinity, idle.min() ?? .infinity, state.nextCheck)
            if state.nextRefill > now { next = min(next, state.nextRefill) }
            return max(next - Monotonic.now(), 0.05)
        }
    }

    private static func end(of record: NetworkRecord) -> Double {
        if case .resting(let until, _) = record.phase { until } else { 0 }
    }

    private func attempt(_ what: String, _ body: () throws(PaaSError) -> Void) -> Bool {
        do throws(PaaSError) {
            try body()
            return true
        } catch {
            logger.error("\(what)", metadata: ["error": "\(ErrorChain(error))"])
            return false
        }
    }

    /// Gives the addresses back whose rest is over.
    private func freeRested(_ now: Double) {
        let due = state.withLock { state in state.resting.values.filter { Self.end(of: $0) <= now } }
        for record in due {
            let done = attempt("an address could not be freed; it is tried again") { () throws(PaaSError) in
                try discard(record)
            }
            state.withLock { state in
                guard !done, case .resting(_, let bootID) = record.phase else {
                    state.resting[record.name] = nil
                    return
                }
                var later = record
                later.phase = .resting(until: Monotonic.now() + 5, bootID: bootID)
                state.resting[record.name] = later
            }
        }
    }

    /// Keeps namespaces ready in spaces that have containers.
    private func refill(_ now: Double) {
        while true {
            let index: Int? = state.withLock { state in
                guard state.nextRefill <= now else { return nil }
                return Set(state.attached.values.map(\.networkIndex)).sorted().first {
                    (state.pool[$0]?.count ?? 0) < options.poolSize
                }
            }
            guard let index, background.isRunning else { return }
            let done = attempt("no network could be made ready; it is tried again") { () throws(PaaSError) in
                let record = try make(index)
                state.withLock { $0.pool[index, default: []].append(record) }
            }
            if !done {
                state.withLock { $0.nextRefill = Monotonic.now() + 5 }
                return
            }
        }
    }

    /// Takes pool and bridge from spaces that have had no container for a while.
    private func retireIdle(_ now: Double) {
        func isIdle(_ index: Int, _ state: borrowing State) -> Bool {
            state.making[index, default: 0] == 0 && (state.lastUse[index] ?? 0) + options.idleSeconds <= now
                && !state.attached.values.contains { $0.networkIndex == index }
        }
        let spare: [(Int, [NetworkRecord])] = state.withLock { state in
            let idle = Set(state.pool.keys).union(state.lastUse.keys).filter { isIdle($0, state) }
            return idle.map { ($0, state.pool.removeValue(forKey: $0) ?? []) }
        }
        for (index, records) in spare {
            let done = attempt("an idle space's network could not be removed") { () throws(PaaSError) in
                for record in records { try discard(record) }
                let result: Result<Void, PaaSError> = bridgeChanges.withLock { _ in
                    // Somebody may have asked for it meanwhile; who asks now waits for this lock.
                    guard state.withLock({ isIdle(index, $0) }) else { return .success(()) }
                    do throws(PaaSError) {
                        try bridges.remove(index)
                        return .success(())
                    } catch {
                        return .failure(error)
                    }
                }
                try result.get()
            }
            state.withLock { state in
                if done {
                    if isIdle(index, state) { state.lastUse[index] = nil }
                } else {
                    state.lastUse[index] = Monotonic.now()
                }
            }
        }
    }

    /// Puts right what others may have changed: a flushed packet filter, a forwarder that died, other name servers.
    private func check(_ now: Double) {
        let (due, before) = state.withLock { ($0.nextCheck <= now, $0.resolvers) }
        guard due else { return }
        _ = attempt("packet filter or name servers could not be put right; it is tried again") { () throws(PaaSError) in
            let resolvers = try ResolverConfiguration.read(files: options.resolverFiles)
            let filter = try PacketFilter(settings: settings, plan: plan, resolvers: resolvers)
            let inPlace = try filter.isInPlace()
            if !inPlace { logger.error("the packet filter was removed by something else; setting it up again") }
            if !inPlace || resolvers != before { try filter.apply() }
            if resolvers.needsForwarder {
                try forwarder.ensure()
            } else if before.needsForwarder {
                logger.notice(
                    "the host has name servers that containers can reach; the forwarder goes on for those that use it")
            }
            state.withLock { $0.resolvers = resolvers }
        }
        // A dead forwarder is a space without names: look more often.
        state.withLock {
            $0.nextCheck =
                Monotonic.now() + ($0.resolvers.needsForwarder ? min(1, options.checkSeconds) : options.checkSeconds)
        }
    }
}
