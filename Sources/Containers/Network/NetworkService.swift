import Domain
import Glibc
import Logging
import OS
import Synchronization

/// The networks of the containers on this host: a bridge per space, a namespace per container, one packet filter.
///
/// All functions block and may be called from any thread but those of Swift's cooperative pool. The engine may die at any
/// line: records are written before what they stand for and removed after it, and `start` repairs from records and kernel.
public final class NetworkService: Sendable {
    struct Options: Sendable {
        /// How long an address is left alone after its container went.
        var restSeconds = 60.0
        /// Namespaces kept ready in each space that is in use.
        var poolSize = 2
        /// How long a space without containers keeps its bridge and its pool.
        var idleSeconds = 60.0
        /// How often packet filter and name servers are looked at.
        var checkSeconds = 10.0
        var resolverFiles = ResolverConfiguration.files
        /// How often the router's ports are looked at.
        var portSeconds = 0.25
        /// Whose sockets in the port range are public; nil: nobody's.
        var routerUser = ProcessSpec.User.named("paas-router")?.uid
    }

    /// What the packet filter was made from, and how it read then.
    struct InstalledFilter: Sendable {
        var resolvers: ResolverConfiguration
        var forwards: Bool
        var listing: String
    }

    struct State {
        var started = false
        var attached: [InstanceID: NetworkRecord] = [:]
        var pool: [Int: [NetworkRecord]] = [:]
        var resting: [String: NetworkRecord] = [:]
        /// Spaces in which something is being made: their bridges stay.
        var making: [Int: Int] = [:]
        /// When a space was last asked for, on the monotonic clock.
        var lastUse: [Int: Double] = [:]
        var resolvers = ResolverConfiguration(upstreams: [])
        var filter: InstalledFilter?
        /// Ports of the host that containers may reach.
        var publicPorts: Set<UInt16> = []
        /// When to look at packet filter and name servers again, and when to make namespaces again after a failure.
        var nextCheck = 0.0
        var nextRefill = 0.0
        var nextPorts = 0.0
    }

    let settings: Settings
    let logger: Logger
    let options: Options
    let plan: SubnetPlan
    let bridges: HostBridges
    let plugins: ContainerNetworkPlugins
    let records: NetworkRecords
    let forwarder: NameForwarder
    let namespaces: String
    let folder: String
    let state = Mutex(State())
    /// Held while a bridge comes or goes. Taken before `state`, never inside it.
    let bridgeChanges = Mutex(())
    let background: BackgroundLoop

    /// - Throws: `.invalid` for subnets that can't be used, `.unavailable` naming a missing package.
    public convenience init(settings: Settings, logger: Logger) throws(PaaSError) {
        try self.init(settings: settings, logger: logger, options: Options())
    }

    init(settings: Settings, logger: Logger, options: Options) throws(PaaSError) {
        self.settings = settings
        self.logger = logger
        self.options = options
        plan = try SubnetPlan(v4: settings.subnetV4, v6: settings.subnetV6)
        bridges = try HostBridges(instance: settings.instance)
        folder = settings.runDirectory + "/network"
        namespaces = settings.runDirectory + "/netns"
        plugins = try ContainerNetworkPlugins(reservations: folder + "/addresses")
        records = NetworkRecords(folder: folder + "/records")
        forwarder = NameForwarder(
            folder: folder, bridges: bridges.prefix,
            resolverFile: options.resolverFiles.first ?? "/etc/resolv.conf", logger: logger)
        background = try BackgroundLoop()
    }

    deinit { background.stop() }

    /// A namespace with addresses in a space's network, for one container. The same one again for the same instance.
    ///
    /// - Parameter networkIndex: the space's number, from 0.
    /// - Throws: `.exhausted` if the space or its addresses don't fit; `.conflict` if the instance is in another space.
    public func acquire(networkIndex: Int, instance: InstanceID) throws(PaaSError) -> NetworkAttachment {
        _ = try plan.space(networkIndex)
        if let known = try take(networkIndex, instance, made: nil) { return known }
        let record = try make(networkIndex)
        guard let attachment = try take(networkIndex, instance, made: record) else {
            throw PaaSError(.internal, "a container's network could not be made")
        }
        return attachment
    }

    /// A namespace with nothing but loopback, of which nothing is recorded: it has no address that could be taken.
    public func makeIsolated(at path: String) throws(PaaSError) {
        try NetworkNamespace.create(at: path)
        try NetworkNamespace.prepare(at: path)
        try plugins.bringUpLoopback("isolated", namespace: path)
    }

    /// What the instance has; nil if it has nothing.
    public func attachment(of instance: InstanceID) -> NetworkAttachment? {
        state.withLock { $0.attached[instance]?.attachment }
    }

    /// Ends the container's network at once; its addresses rest before they are used again. Fine if it has none.
    public func release(instance: InstanceID) throws(PaaSError) {
        let bootID = try bootID()
        let until = Monotonic.now() + options.restSeconds
        let result: Result<NetworkRecord?, PaaSError> = state.withLock { state in
            guard var record = state.attached[instance] else { return .success(nil) }
            record.phase = .resting(until: until, bootID: bootID)
            do throws(PaaSError) {
                try records.save(record)
            } catch {
                return .failure(error)
            }
            state.attached[instance] = nil
            state.resting[record.name] = record
            state.lastUse[record.networkIndex] = Monotonic.now()
            return .success(record)
        }
        guard let record = try result.get() else { return }
        // Should this fail, the end of the rest tries again.
        try removeNamespace(record)
        background.wake()
    }

    /// Ends the background work and leaves everything as it is: another engine goes on from there.
    public func stop() { background.stopAndWait() }

    /// Gives out a namespace: the instance's own, else one of the pool, else `made`. Nil if there is none.
    private func take(_ index: Int, _ instance: InstanceID, made: NetworkRecord?) throws(PaaSError)
        -> NetworkAttachment?
    {
        let result: Result<NetworkAttachment?, PaaSError> = state.withLock { state in
            guard state.started else {
                return .failure(PaaSError(.unavailable, "the engine is starting; try again", source: .platform))
            }
            state.lastUse[index] = Monotonic.now()
            if let own = state.attached[instance] {
                if let made { state.pool[index, default: []].append(made) }
                guard own.networkIndex == index else {
                    return .failure(
                        PaaSError(.conflict, "process instance \(instance) already has a network in another space"))
                }
                return .success(own.attachment)
            }
            guard var record = made ?? state.pool[index]?.last else { return .success(nil) }
            record.phase = .attached(instance)
            record.attachment?.resolvers = resolvers(state.resolvers, index)
            record.usesForwarder = state.resolvers.needsForwarder
            do throws(PaaSError) {
                try records.save(record)
            } catch {
                if let made { state.pool[index, default: []].append(made) }
                return .failure(error)
            }
            if made == nil { state.pool[index]?.removeLast() }
            state.attached[instance] = record
            return .success(record.attachment)
        }
        background.wake()
        return try result.get()
    }

    func resolvers(_ configuration: ResolverConfiguration, _ index: Int) -> [String] {
        guard configuration.needsForwarder, let space = try? plan.space(index) else { return configuration.upstreams }
        return [space.gateway4, space.gateway6]
    }

    /// A ready namespace, in no list yet.
    func make(_ index: Int) throws(PaaSError) -> NetworkRecord {
        let space = try plan.space(index)
        state.withLock { $0.making[index, default: 0] += 1 }
        defer {
            state.withLock { state in
                state.making[index, default: 1] -= 1
                state.lastUse[index] = Monotonic.now()
            }
        }
        try ensureBridge(space)
        let name = "n" + String(UInt64.random(in: .min ... .max), radix: 36)
        let path = "\(namespaces)/\(name)"
        var record = NetworkRecord(name: name, networkIndex: index, phase: .making, attachment: nil)
        try records.save(record)
        do throws(PaaSError) {
            try NetworkNamespace.create(at: path)
            try NetworkNamespace.prepare(at: path)
            let addresses = try plugins.attach(name, namespace: path, bridge: bridges.name(index), space: space)
            record.phase = .ready
            record.attachment = NetworkAttachment(
                namespacePath: path, address4: addresses.address4, address6: addresses.address6,
                gateway4: space.gateway4, gateway6: space.gateway6, resolvers: [])
            try records.save(record)
            return record
        } catch {
            // Nobody has seen its addresses: they need no rest.
            do throws(PaaSError) {
                try discard(record)
            } catch let second {
                logger.error(
                    "half-made network left over until the next start", metadata: ["error": "\(ErrorChain(second))"])
            }
            throw error
        }
    }

    private func ensureBridge(_ space: SubnetPlan.Space) throws(PaaSError) {
        let result: Result<Void, PaaSError> = bridgeChanges.withLock { _ in
            do throws(PaaSError) {
                let name = bridges.name(space.index)
                // `up` is the last thing that `ensure` does.
                let flags = try NetworkTool.system("a bridge could not be read") { () throws(SystemError) in
                    try Files.readText("/sys/class/net/\(name)/flags")
                }
                if let flags, let bits = UInt32(flags.dropFirst(2), radix: 16), bits & UInt32(IFF_UP) != 0 {
                    return .success(())
                }
                try HostRoutes.check(plan, routes: HostRoutes.all(), ownPrefix: bridges.prefix)
                try bridges.ensure(space)
                return .success(())
            } catch {
                return .failure(error)
            }
        }
        try result.get()
    }

    /// Removes interface and namespace; the addresses stay taken.
    func removeNamespace(_ record: NetworkRecord) throws(PaaSError) {
        let path = "\(namespaces)/\(record.name)"
        if NetworkNamespace.exists(at: path) {
            // A process may still hold the namespace: the interface has to go by itself.
            try plugins.detach(record.name, namespace: path, bridge: bridges.name(record.networkIndex))
        }
        try NetworkNamespace.remove(at: path)
    }

    /// Removes all of it, addresses and record last.
    func discard(_ record: NetworkRecord) throws(PaaSError) {
        try removeNamespace(record)
        // A number that the plan no longer has means other subnets than before: their reservations are gone or useless.
        if record.networkIndex < plan.spaceCount {
            let space = try plan.space(record.networkIndex)
            try plugins.free(record.name, bridge: bridges.name(record.networkIndex), space: space)
        }
        try records.remove(record.name)
    }

    func bootID() throws(PaaSError) -> String {
        try NetworkTool.system("the boot id could not be read") { () throws(SystemError) in
            try Host.bootID(file: settings.bootIDFile)
        }
    }
}
