import Domain
import Logging
import OS
import Synchronization

extension NetworkService {
    /// Makes the host ready and finds again what is there: to be called once, before anything else.
    ///
    /// - Parameter living: instances whose containers run or whose end is not yet known. What belongs to others is removed.
    /// - Throws: `.conflict` if `PAAS_SUBNETS` overlaps a route of the host, or does not hold the addresses of the living.
    public func start(living: [InstanceID]) throws(PaaSError) {
        try HostRoutes.check(plan, routes: HostRoutes.all(), ownPrefix: bridges.prefix)
        try NetworkTool.system("the run directory could not be written") { () throws(SystemError) in
            try Files.makeDirectories(folder, mode: 0o700)
            try Files.makeDirectories(folder + "/records", mode: 0o700)
            try Files.makeDirectories(folder + "/addresses", mode: 0o700)
            try Files.makeDirectories(namespaces, mode: 0o700)
        }
        let changed = try HostForwarding.enable(ownPrefix: bridges.prefix)
        if !changed.isEmpty {
            logger.notice("forwarding turned on", metadata: ["settings": "\(changed.joined(separator: " "))"])
        }
        let resolvers = try ResolverConfiguration.read(files: options.resolverFiles)
        let used = try usesForwarder(living: Set(living))
        let forwards = resolvers.needsForwarder || used
        let ports = try routedPorts()
        let filter = try PacketFilter(
            settings: settings, plan: plan, resolvers: resolvers, forwards: forwards, publicPorts: ports)
        let listing = try filter.apply()
        for chain in try filter.foreignDrops() {
            logger.warning(
                "another packet filter drops forwarded traffic, perhaps also that of containers: allow \(bridges.prefix)+ there",
                metadata: ["chain": "\(chain)"])
        }
        try repair(living: Set(living))
        if forwards { try forwarder.ensure() } else { try forwarder.stop() }
        state.withLock { state in
            state.resolvers = resolvers
            state.publicPorts = ports
            state.filter = InstalledFilter(resolvers: resolvers, forwards: forwards, listing: listing)
            // At once: containers that live may have been told of other name servers.
            state.nextCheck = 0
            state.started = true
        }
        background.start("network") { [weak self] in self?.step() }
    }

    /// Whether one of them was told to ask the forwarder.
    private func usesForwarder(living: Set<InstanceID>) throws(PaaSError) -> Bool {
        try records.load().contains { record in
            guard case .attached(let instance) = record.phase else { return false }
            return record.usesForwarder == true && living.contains(instance)
        }
    }

    /// Brings records and kernel to what `living` says.
    private func repair(living: Set<InstanceID>) throws(PaaSError) {
        let bootID = try bootID()
        let restedAt = Monotonic.now() + options.restSeconds
        var bridgesThere = Set(try bridges.existing())
        var found = State()
        let loaded = try records.load()
        for record in loaded {
            if case .attached(let instance) = record.phase, living.contains(instance),
                let attachment = record.attachment
            {
                let space = record.networkIndex < plan.spaceCount ? try plan.space(record.networkIndex) : nil
                guard let space, space.v4.contains(address: attachment.address4),
                    space.v6.contains(address: attachment.address6)
                else {
                    throw PaaSError(
                        .conflict,
                        "containers run with addresses outside PAAS_SUBNETS (\(attachment.address4)): set it back to what "
                            + "it was, or stop them first with bin/down", source: .platform)
                }
                if !NetworkNamespace.exists(at: attachment.namespacePath) || !bridgesThere.contains(record.networkIndex)
                {
                    logger.error("a container's network is gone", metadata: ["instance": "\(instance)"])
                }
                found.attached[instance] = record
                found.lastUse[record.networkIndex] = Monotonic.now()
                continue
            }
            switch record.phase {
            case .ready where isUsable(record, bridgesThere):
                found.pool[record.networkIndex, default: []].append(record)
            case .ready, .making: try discard(record)
            case .attached: found.resting[record.name] = try rest(record, until: restedAt, bootID)
            case .resting(let until, let boot):
                // The clock began anew with the boot.
                found.resting[record.name] = try rest(record, until: boot == bootID ? until : restedAt, bootID)
            }
        }
        let kept = Set(found.attached.values.map(\.networkIndex) + found.pool.keys)
        try removeUnknown(known: Set(loaded.map(\.name)), restedAt, bootID, into: &found)
        for index in bridgesThere where !kept.contains(index) {
            try bridges.remove(index)
            bridgesThere.remove(index)
        }
        for index in kept { try bridges.ensure(plan.space(index)) }
        let result = found
        state.withLock { $0 = result }
        for instance in living where result.attached[instance] == nil {
            logger.error("a container that lives has no network on record", metadata: ["instance": "\(instance)"])
        }
    }

    private func isUsable(_ record: NetworkRecord, _ bridgesThere: Set<Int>) -> Bool {
        guard let attachment = record.attachment, record.networkIndex < plan.spaceCount,
            let space = try? plan.space(record.networkIndex)
        else { return false }
        return bridgesThere.contains(record.networkIndex) && space.v4.contains(address: attachment.address4)
            && space.v6.contains(address: attachment.address6)
            && NetworkNamespace.exists(at: attachment.namespacePath)
    }

    private func rest(_ record: NetworkRecord, until: Double, _ bootID: String) throws(PaaSError) -> NetworkRecord {
        var record = record
        record.phase = .resting(until: until, bootID: bootID)
        try records.save(record)
        try removeNamespace(record)
        return record
    }

    /// Namespaces and addresses without a record: somebody removed it. The addresses may have been in use, so they rest.
    private func removeUnknown(known: Set<String>, _ restedAt: Double, _ bootID: String, into found: inout State)
        throws(PaaSError)
    {
        let files = try NetworkTool.system("the network namespaces could not be listed") { () throws(SystemError) in
            try Files.list(namespaces)
        }
        for name in files where !known.contains(name) {
            logger.warning("network namespace without a record removed", metadata: ["name": "\(name)"])
            try removeNamespace(NetworkRecord(name: name, networkIndex: 0, phase: .making, attachment: nil))
        }
        let folders = try NetworkTool.system("the addresses in use could not be read") { () throws(SystemError) in
            try Files.list(folder + "/addresses")
        }
        for bridge in folders {
            guard let index = bridges.index(of: bridge), index < plan.spaceCount else { continue }
            for name in try plugins.holders(bridge: bridge) where !known.contains(name) {
                let record = NetworkRecord(name: name, networkIndex: index, phase: .making, attachment: nil)
                found.resting[name] = try rest(record, until: restedAt, bootID)
            }
        }
    }

    /// Removes everything from the host: namespaces, bridges, packet filter, name forwarder, state. Goes on past errors and
    /// throws the first. Needs no `start`. Forwarding of packets stays on.
    public func teardown() throws(PaaSError) {
        background.stopAndWait()
        state.withLock { $0 = State() }
        var first: PaaSError?
        func attempt(_ body: () throws(PaaSError) -> Void) {
            do throws(PaaSError) {
                try body()
            } catch {
                logger.error("teardown of the network", metadata: ["error": "\(ErrorChain(error))"])
                if first == nil { first = error }
            }
        }
        attempt { () throws(PaaSError) in try forwarder.stop() }
        attempt { () throws(PaaSError) in
            let files = try NetworkTool.system("the network namespaces could not be listed") { () throws(SystemError) in
                try Files.list(namespaces)
            }
            for name in files {
                attempt { () throws(PaaSError) in
                    try removeNamespace(NetworkRecord(name: name, networkIndex: 0, phase: .making, attachment: nil))
                }
            }
        }
        attempt { () throws(PaaSError) in
            for index in try bridges.existing() {
                attempt { () throws(PaaSError) in try bridges.remove(index) }
            }
        }
        attempt { () throws(PaaSError) in try PacketFilter.remove(settings: settings) }
        attempt { () throws(PaaSError) in
            try NetworkTool.system("the network's state could not be removed") { () throws(SystemError) in
                try Files.removeTree(folder)
                try Files.removeTree(namespaces)
            }
        }
        if let first { throw first }
    }
}
