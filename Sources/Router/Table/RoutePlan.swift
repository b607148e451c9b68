import Domain
import Synchronization

/// A route as the loops use it: addresses parsed, counters at hand. Immutable; a change of the table makes a new one.
final class RoutePlan: Sendable {
    let binding: BindingID
    let app: String
    let name: String
    let idleMilliseconds: UInt64
    let connectMilliseconds: UInt64
    let affinity: PortBinding.Affinity
    let backends: [BackendTarget]
    let shared: RouteShared

    init(_ route: RoutingTable.Route, backends: [BackendTarget], shared: RouteShared) {
        binding = route.binding
        app = route.app
        name = route.name
        idleMilliseconds = UInt64(max(1, route.idleTimeoutSeconds)) * 1000
        connectMilliseconds = UInt64(max(1, route.connectTimeoutMilliseconds))
        affinity = route.affinity
        self.backends = backends
        self.shared = shared
    }
}

/// What stays the same for a binding while its route changes.
final class RouteShared: Sendable {
    let binding: BindingID
    /// Whose turn it is, for all loops together: that is what makes the distribution even.
    let turn = Atomic<Int>(0)
    /// One for each loop.
    let counters: [RouteCounters]

    /// Descriptors that its flows hold.
    let descriptors = Atomic<Int>(0)
    /// Flows that ended, by `FlowEnding`.
    let endings = FlowEnding.allCases.map { _ in Atomic64() }
    /// The backend's name and libuv's code.
    let lastConnectError = Mutex<(name: String, code: Int32)?>(nil)

    init(_ binding: BindingID, loops: Int) {
        self.binding = binding
        counters = (0..<loops).map { _ in RouteCounters() }
    }
}

/// Counters of one binding on one loop. Only that loop writes, so that an update is a plain addition; anyone may read.
final class RouteCounters: Sendable {
    struct Sum: Sendable, Hashable {
        var flows = 0
        var active = 0
        var bytesIn = 0
        var bytesOut = 0
        var connectFailures = 0
        var retries = 0
    }

    let flows = Atomic<Int>(0)
    let active = Atomic<Int>(0)
    /// From clients.
    let bytesIn = Atomic<Int>(0)
    /// To clients.
    let bytesOut = Atomic<Int>(0)
    let connectFailures = Atomic<Int>(0)
    let retries = Atomic<Int>(0)

    func add(to sum: inout Sum) {
        sum.flows += flows.load(ordering: .relaxed)
        sum.active += active.load(ordering: .relaxed)
        sum.bytesIn += bytesIn.load(ordering: .relaxed)
        sum.bytesOut += bytesOut.load(ordering: .relaxed)
        sum.connectFailures += connectFailures.load(ordering: .relaxed)
        sum.retries += retries.load(ordering: .relaxed)
    }
}

extension Atomic where Value == Int {
    /// For the only writer: no locked instruction.
    borrowing func increase(_ amount: Int) {
        store(load(ordering: .relaxed) &+ amount, ordering: .relaxed)
    }
}

/// An instance as a place to connect to.
final class BackendTarget: Sendable {
    let instance: InstanceID
    let name: String
    /// At least one; IPv4 first.
    let addresses: [SocketAddress]
    let flows: InstanceFlows
    let health: BackendHealth
    /// Stable over restarts, for affinity.
    let hash: UInt64

    init(
        instance: InstanceID, name: String, addresses: [SocketAddress], flows: InstanceFlows, health: BackendHealth
    ) {
        self.instance = instance
        self.name = name
        self.addresses = addresses
        self.flows = flows
        self.health = health
        var hash: UInt64 = 0xcbf2_9ce4_8422_2325
        for byte in instance.description.utf8 { hash = (hash ^ UInt64(byte)) &* 0x100_0000_01b3 }
        self.hash = hash
    }

    /// The address to begin with: the one that took a connect the last time, because a server may listen on one only.
    var firstAddress: Int { health.workingAddress % addresses.count }
}

/// Live flows to one instance, of all bindings and loops. A flow counts from the start of its connect on.
final class InstanceFlows: Sendable {
    let active = Atomic<Int>(0)
}
