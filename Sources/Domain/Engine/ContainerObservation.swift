/// A socket seen in a container's own network namespace.
public struct ObservedSocket: Sendable, Codable, Hashable {
    public var `protocol`: TransportProtocol
    public var address: String
    public var port: UInt16
    public var isLoopback: Bool
    public init(protocol: TransportProtocol, address: String, port: UInt16, isLoopback: Bool) {
        self.protocol = `protocol`
        self.address = address
        self.port = port
        self.isLoopback = isLoopback
    }
}

/// What an engine sees of one container.
public struct ContainerObservation: Sendable, Codable, Hashable {
    public enum State: String, Sendable, Codable { case creating, running, exited }

    public var id: InstanceID
    public var app: AppID
    public var name: String
    public var isBuild: Bool
    public var epoch: Int64
    public var generation: Int64
    public var state: State
    public var node: String
    public var bootID: String
    public var pid: Int32?
    public var pidStartTime: Int64?
    public var address4: String?
    public var address6: String?
    /// All required ports are bound on a non-loopback address (once true it stays true for this run).
    public var ready: Bool
    /// What is bound, while not ready and for a required transport; at most 32.
    public var sockets: [ObservedSocket]
    public var startedAt: Timestamp?
    public var exitedAt: Timestamp?
    /// 128 + signal number for a death by signal.
    public var exitCode: Int32?
    public var outOfMemory: Bool
    /// The engine ended it because of its time limit.
    public var timedOut: Bool

    public init(
        id: InstanceID, app: AppID, name: String, isBuild: Bool, epoch: Int64, generation: Int64, state: State,
        node: String, bootID: String, pid: Int32? = nil, pidStartTime: Int64? = nil, address4: String? = nil,
        address6: String? = nil, ready: Bool = false, sockets: [ObservedSocket] = [], startedAt: Timestamp? = nil,
        exitedAt: Timestamp? = nil, exitCode: Int32? = nil, outOfMemory: Bool = false, timedOut: Bool = false
    ) {
        self.id = id
        self.app = app
        self.name = name
        self.isBuild = isBuild
        self.epoch = epoch
        self.generation = generation
        self.state = state
        self.node = node
        self.bootID = bootID
        self.pid = pid
        self.pidStartTime = pidStartTime
        self.address4 = address4
        self.address6 = address6
        self.ready = ready
        self.sockets = sockets
        self.startedAt = startedAt
        self.exitedAt = exitedAt
        self.exitCode = exitCode
        self.outOfMemory = outOfMemory
        self.timedOut = timedOut
    }
}

/// A full list first, then changes.
public enum EngineEvent: Sendable, Codable, Hashable {
    case list([ContainerObservation])
    case changed(ContainerObservation)
    case removed(InstanceID)
}
