/// The places of the durable order at which a test can have paasd killed (`PAAS_FAULT=name`), one for each step.
public enum FaultPoint: String, Sendable, CaseIterable {
    /// 1: objects are in, the hidden ref is pinned.
    case refPinned = "ref-pinned"
    /// 2: the build row is written.
    case buildRecorded = "build-recorded"
    /// 3: the slug file and its row are written.
    case slugStored = "slug-stored"
    /// 4: release, formation generation, event and operation are written.
    case releaseRecorded = "release-recorded"
    /// 5: instance rows are planned, the engine not yet asked.
    case instancePlanned = "instance-planned"
    /// 6: the engine started it and the observation is written.
    case instanceStarted = "instance-started"
    /// 7: `up` and the routing revision are written.
    case instanceUp = "instance-up"
    /// 8: out of the table, acknowledged, not yet stopped.
    case unrouted
    /// 9: the deploy ref moved, not yet recorded.
    case refMoved = "ref-moved"
    /// The row of a slug that nothing needs says that it is gone; its file is there still.
    case slugRetired = "slug-retired"
}

/// Called right after each durable step; the shell that a test configured kills the process there.
public protocol FaultInjector: Sendable {
    func reached(_ point: FaultPoint)
}

public struct NoFaults: FaultInjector {
    public init() {}
    public func reached(_ point: FaultPoint) {}
}
