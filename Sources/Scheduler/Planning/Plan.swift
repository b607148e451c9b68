import Domain

/// A process instance that the planner wants; it gets its id when its row is written.
public struct NewInstance: Sendable, Hashable {
    public var type: String
    /// Counts from 1 in each type.
    public var index: Int
    public var release: Int
    /// Crashes in a row of this place under this release.
    public var restarts: Int

    public init(type: String, index: Int, release: Int, restarts: Int = 0) {
        self.type = type
        self.index = index
        self.release = release
        self.restarts = restarts
    }
}

/// One step towards the wanted state. `ensure`, `stop` and `remove` are calls of the engine that may take long; all
/// others are one transaction of the store.
public enum Action: Sendable, Hashable {
    /// Write rows `planned`.
    case create([NewInstance])
    case ensure(InstanceID)
    case markStarting(InstanceID, ContainerObservation)
    case markUp(InstanceID, ContainerObservation)
    /// Out of the routing table, towards its end.
    case unroute([InstanceID], reason: String)
    case setStopAt(InstanceID, Timestamp)
    case stop(InstanceID, graceSeconds: Int)
    case markCrashed(InstanceID, exitCode: Int32?, reason: String, restarts: Int, nextStartAt: Timestamp)
    case markExited(InstanceID, exitCode: Int32?)
    /// Have the engine forget the container and free its address.
    case remove(InstanceID)
    /// Delete the row.
    case removeInstance(InstanceID)
    case resetSlot(type: String, index: Int)
    case markRolling(version: Int)
    case markCurrent(version: Int)
    /// The last lines of `instance`'s log are added to the summary.
    case failRelease(version: Int, summary: String, instance: InstanceID)
    /// Write the instance of a pending run, `planned`: it has no other one ever.
    case beginRun(ReleaseRun.Kind, version: Int)
    /// What the run wrote is kept with it.
    case endRun(ReleaseRunEnd)
    case setProgress(OperationID, Double)
    case finishOperation(OperationID, state: Operation.State, error: ErrorReport?)
    /// Clean up what lies outside the database, then remove the app's rows.
    case removeApp(operations: [OperationID])

    /// A call of the engine, run beside the planning loop.
    public var isEngineCall: Bool {
        switch self {
        case .ensure, .stop, .remove: true
        default: false
        }
    }
}

public struct Plan: Sendable, Hashable {
    /// In the order in which they are to be done. After any that is no engine call, plan again at once.
    public var actions: [Action]
    /// When time alone makes another plan necessary.
    public var wakeAt: Timestamp?

    public init(actions: [Action] = [], wakeAt: Timestamp? = nil) {
        self.actions = actions
        self.wakeAt = wakeAt
    }

    public var changesStore: Bool { actions.contains { !$0.isEngineCall } }
}
