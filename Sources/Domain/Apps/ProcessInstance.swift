/// One run of one process of an app, from being planned to being gone.
public struct ProcessInstance: Sendable, Codable, Hashable {
    public enum State: String, Sendable, Codable, CaseIterable {
        /// Row written, the engine not yet asked.
        case planned
        /// The engine has it; not ready yet.
        case starting
        /// Ready; in the routing table if it has port bindings.
        case up
        case unhealthy
        /// Out of the routing table, draining or terminating.
        case stopping
        /// Ended although it should run.
        case crashed
        /// Ended after the platform's own stop; its address is free once every router acknowledged.
        case exited
    }

    public var id: InstanceID
    public var app: AppID
    /// Process type, as in `web`.
    public var type: String
    /// Counts from 1 in each type.
    public var index: Int
    public var release: Int
    public var generation: Int64
    public var epoch: Int64
    public var state: State
    public var node: String?
    public var address4: String?
    public var address6: String?
    public var pid: Int32?
    /// Clock ticks since boot (`/proc/PID/stat` field 22): together with the boot id it tells a pid from a reused one.
    public var pidStartTime: Int64?
    public var bootID: String?
    /// Replacements of this slot since it was last stable.
    public var restarts: Int
    public var exitCode: Int32?
    public var reason: String?
    /// Routing revision from which on no router may send to it; stopping waits for it.
    public var unroutedRevision: Int64?
    public var createdAt: Timestamp
    public var since: Timestamp
    public var upAt: Timestamp?
    /// Was in the routing table at some time, so that routers may have flows to it.
    public var wasRouted: Bool
    /// SIGTERM was or will be sent at this time (end of drain).
    public var stopAt: Timestamp?
    /// Replacing this instance was asked for by a user; it leaves when its successor is up.
    public var replaceRequested: Bool

    /// `web.1`
    public var name: String { "\(type).\(index)" }

    public init(
        id: InstanceID, app: AppID, type: String, index: Int, release: Int, generation: Int64, epoch: Int64,
        state: State,
        node: String? = nil, address4: String? = nil, address6: String? = nil, pid: Int32? = nil,
        pidStartTime: Int64? = nil, bootID: String? = nil, restarts: Int = 0, exitCode: Int32? = nil,
        reason: String? = nil, unroutedRevision: Int64? = nil, createdAt: Timestamp, since: Timestamp,
        upAt: Timestamp? = nil, wasRouted: Bool = false, stopAt: Timestamp? = nil, replaceRequested: Bool = false
    ) {
        self.id = id
        self.app = app
        self.type = type
        self.index = index
        self.release = release
        self.generation = generation
        self.epoch = epoch
        self.state = state
        self.node = node
        self.address4 = address4
        self.address6 = address6
        self.pid = pid
        self.pidStartTime = pidStartTime
        self.bootID = bootID
        self.restarts = restarts
        self.exitCode = exitCode
        self.reason = reason
        self.unroutedRevision = unroutedRevision
        self.createdAt = createdAt
        self.since = since
        self.upAt = upAt
        self.wasRouted = wasRouted
        self.stopAt = stopAt
        self.replaceRequested = replaceRequested
    }
}
