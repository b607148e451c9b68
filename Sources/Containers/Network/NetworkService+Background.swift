import Domain
import Glibc
import Logging
import OS
import Synchronization

extension NetworkService {
    /// Does what is due, and says in how many seconds there is more.
    func step() -> Double {
        let now = Monotonic.now()
        openRoutedPorts(now)
        freeRested(now)
        refill(now)
        retireIdle(now)
        check(now)
        return state.withLock { state in
            let ends = state.resting.values.map { Self.end(of: $0) }
            let inUse = Set(state.attached.values.map(\.networkIndex))
            let idle = state.lastUse.filter { !inUse.contains($0.key) }.map { $0.value + options.idleSeconds }
            var next = min(ends.min() ?? .infinity, idle.min() ?? .infinity, state.nextCheck, state.nextPorts)
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
        let (due, before) = state.withLock { ($0.nextCheck <= now, $0.filter) }
        guard due else { return }
        _ = attempt("packet filter or name servers could not be put right; it is tried again") { () throws(PaaSError) in
            let resolvers = try ResolverConfiguration.read(files: options.resolverFiles)
            // Who comes now gets these, and counts for the forwarder.
            state.withLock { $0.resolvers = resolvers }
            let forwards = state.withLock {
                resolvers.needsForwarder || $0.attached.values.contains { $0.usesForwarder == true }
            }
            let filter = try PacketFilter(
                settings: settings, plan: plan, resolvers: resolvers, forwards: forwards,
                publicPorts: state.withLock { $0.publicPorts })
            let inPlace = try filter.listing() == before?.listing
            if !inPlace { logger.error("the packet filter was changed by something else; setting it up again") }
            if !inPlace || resolvers != before?.resolvers || forwards != before?.forwards {
                let listing = try filter.apply()
                state.withLock {
                    $0.filter = InstalledFilter(resolvers: resolvers, forwards: forwards, listing: listing)
                }
            }
            if forwards {
                try forwarder.ensure()
            } else if before?.forwards == true {
                try forwarder.stop()
                logger.notice("no container uses the name forwarder any more")
            }
            // Last: they can be reached by now.
            for instance in state.withLock({ $0.attached.keys }) { try tell(instance, resolvers) }
        }
        // A dead forwarder is a space without names: look more often.
        state.withLock {
            $0.nextCheck =
                Monotonic.now() + ($0.filter?.forwards == true ? min(1, options.checkSeconds) : options.checkSeconds)
        }
    }

    /// Lets containers reach the ports that the router has bound, and nothing else that listens in the port range.
    private func openRoutedPorts(_ now: Double) {
        guard state.withLock({ $0.nextPorts <= now }) else { return }
        let done = attempt("the router's ports could not be opened to containers; it is tried again") {
            () throws(PaaSError) in
            let ports = try routedPorts()
            guard state.withLock({ $0.publicPorts != ports }) else { return }
            try PacketFilter.open(ports, settings: settings)
            state.withLock { $0.publicPorts = ports }
        }
        state.withLock { $0.nextPorts = Monotonic.now() + (done ? options.portSeconds : 5) }
    }

    /// TCP ports of the port range on which the router listens.
    func routedPorts() throws(PaaSError) -> Set<UInt16> {
        guard let user = options.routerUser else { return [] }
        return try NetworkTool.system("the host's sockets could not be read") { () throws(SystemError) in
            var ports: Set<UInt16> = []
            for table in ["/proc/net/tcp", "/proc/net/tcp6"] {
                ports.formUnion(try ProcNet.listeningPorts(table, user: user))
            }
            return ports.filter { settings.portRange.contains($0) }
        }
    }

    /// Brings the container's `resolv.conf` to the name servers that there are now, as the same file, which it has mounted.
    private func tell(_ instance: InstanceID, _ configuration: ResolverConfiguration) throws(PaaSError) {
        let result: Result<[String]?, PaaSError> = state.withLock { state in
            guard var record = state.attached[instance] else { return .success(nil) }
            let wanted = resolvers(configuration, record.networkIndex)
            if record.attachment?.resolvers == wanted { return .success(wanted) }
            record.attachment?.resolvers = wanted
            if configuration.needsForwarder { record.usesForwarder = true }
            do throws(PaaSError) {
                try records.save(record)
            } catch {
                return .failure(error)
            }
            state.attached[instance] = record
            return .success(wanted)
        }
        guard let wanted = try result.get() else { return }
        let path = ContainerPaths(settings: settings, id: instance).resolvConf
        try NetworkTool.system("a container's name servers could not be changed") { () throws(SystemError) in
            let bytes = ResolverConfiguration.file(wanted)
            // None: the container is being made or taken away.
            guard let present = try Files.read(path, limit: 4096), present != bytes else { return }
            do throws(SystemError) {
                let file = try OwnedFD.open(path, O_WRONLY | O_NOFOLLOW)
                try file.writeAll(bytes)
                let raw = file.raw
                try Syscall.check("shorten \(path)") { ftruncate(raw, off_t(bytes.count)) }
            } catch {
                if error.errno != ENOENT { throw error }
            }
        }
    }
}
