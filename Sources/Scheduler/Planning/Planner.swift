import Domain

/// Decides what to do next for one app. Pure: the same input gives the same plan, whatever happened before.
///
/// The work is in phases. The first phase that wants to change the store ends the plan, so that the next one sees the
/// change: rows follow containers, then runs of releases are begun, then a failed rollout is given up, then places are filled
/// and emptied, then releases and operations are concluded. Containers are started last, when it is certain that their rows
/// stay.
public struct Planner {
    let input: PlannerInput
    let snapshot: AppSnapshot
    let observed: [InstanceID: ContainerObservation]
    let targets: [Target]
    /// Rows by type and index, in the snapshot's order.
    private let rowsByPlace: [String: [Int: [ProcessInstance]]]
    var actions: [Action] = []
    var wakeAt: Timestamp?

    /// What a process type is to run.
    struct Target {
        var type: String
        var quantity: Int
        /// The release that is to run in the end.
        var release: Release
        /// The release that keeps the places filled until then; only while another rolls out.
        var fallback: Release?
    }

    public static func plan(_ input: PlannerInput) -> Plan {
        guard let observed = input.observed else { return Plan() }
        guard let snapshot = input.snapshot else {
            return Plan(actions: orphanActions(observed.values.map { $0 }, input))
        }
        var planner = Planner(input: input, snapshot: snapshot, observed: observed)
        planner.run()
        return Plan(actions: planner.actions, wakeAt: planner.wakeAt)
    }

    private init(input: PlannerInput, snapshot: AppSnapshot, observed: [InstanceID: ContainerObservation]) {
        self.input = input
        self.snapshot = snapshot
        self.observed = observed
        targets = Self.targets(snapshot)
        rowsByPlace = Dictionary(grouping: snapshot.instances, by: \.type).mapValues { rows in
            Dictionary(grouping: rows, by: \.index)
        }
    }

    private mutating func run() {
        let known = Set(snapshot.instances.map(\.id))
        actions += Self.orphanActions(observed.values.filter { !known.contains($0.id) }, input)
        followContainers()
        if changesStore { return }
        beginRuns()
        if changesStore { return }
        decideRollout()
        if changesStore { return }
        fillPlaces()
        if changesStore { return }
        concludeRollout()
        if changesStore { return }
        concludeOperations()
        if changesStore { return }
        startPlanned()
    }

    private var changesStore: Bool { actions.contains { !$0.isEngineCall } }

    // MARK: Facts

    var now: Timestamp { input.now }
    /// The release that is being rolled out; not yet while its release phase is to come or runs.
    var candidate: Release? { snapshot.app.deleting ? nil : Self.rolling(snapshot) }
    var current: Release? { snapshot.app.deleting ? nil : snapshot.current }

    private static func targets(_ snapshot: AppSnapshot) -> [Target] {
        guard !snapshot.app.deleting else { return [] }
        return snapshot.formation.sorted { $0.key < $1.key }.compactMap { type, entry in
            guard entry.quantity > 0 else { return nil }
            guard ReleaseRun.Kind(rawValue: type) == nil else { return nil }
            let old = snapshot.current.flatMap { $0.processTypes[type] == nil ? nil : $0 }
            if let new = rolling(snapshot), new.processTypes[type] != nil {
                return Target(type: type, quantity: entry.quantity, release: new, fallback: old)
            }
            return old.map { Target(type: type, quantity: entry.quantity, release: $0, fallback: nil) }
        }
    }

    func target(of type: String) -> Target? { targets.first { $0.type == type } }

    func isWanted(_ instance: ProcessInstance) -> Bool {
        (target(of: instance.type)?.quantity ?? 0) >= instance.index
    }

    func bindings(of type: String) -> [PortBinding] { snapshot.ports.filter { $0.processType == type } }

    /// Serves or is on its way to.
    static func isLive(_ instance: ProcessInstance) -> Bool {
        switch instance.state {
        case .planned, .starting, .up, .unhealthy: true
        case .stopping, .crashed, .exited: false
        }
    }

    /// Every row of one place, ended ones too.
    func rows(_ type: String, _ index: Int) -> [ProcessInstance] { rowsByPlace[type]?[index] ?? [] }

    func live(_ type: String, _ index: Int) -> [ProcessInstance] { rows(type, index).filter(Self.isLive) }

    /// Up, and every router that counts knows.
    func isServing(_ instance: ProcessInstance) -> Bool {
        guard instance.state == .up else { return false }
        if bindings(of: instance.type).isEmpty { return true }
        return routersReached(input.upRevisions[instance.id] ?? input.baseRevision)
    }

    /// Every router serves `revision` or a later one, those left out that are away for too long.
    func routersReached(_ revision: Int64) -> Bool {
        input.routers.allSatisfy { $0.revision >= revision || isGivenUp($0) }
    }

    func isGivenUp(_ router: RouterFact) -> Bool {
        guard let away = router.awaySince else { return false }
        return now.seconds(since: away) >= input.settings.routerPatienceSeconds
    }

    /// Every router without exception: only then may an address be used again.
    func addressIsFree(_ revision: Int64?) -> Bool {
        guard let revision else { return true }
        return input.routers.allSatisfy { $0.revision >= revision }
    }

    /// Whether a pause of `seconds` that ends at `end` is over. One that seems to have longer to go than it is long was begun
    /// before the wall clock was put back; to end it early does no harm.
    func isPauseOver(_ end: Timestamp, of seconds: Double) -> Bool {
        now >= end || end.seconds(since: now) > seconds + 1
    }

    /// Whether a limit of at most `seconds` that ends at `end` is over. Something is given up for it, so that a wall clock that
    /// is put back a little only makes it longer; one put back by far must not make it last for hours.
    func isOver(_ end: Timestamp, of seconds: Double) -> Bool {
        now >= end || end.seconds(since: now) > 2 * seconds + 60
    }

    mutating func wake(at time: Timestamp) {
        guard time > now else { return }
        wakeAt = min(wakeAt ?? time, time)
    }

    /// Plans again when the routers that are away no longer count.
    mutating func wakeForRouters() {
        for router in input.routers {
            if let away = router.awaySince {
                wake(at: away.adding(seconds: input.settings.routerPatienceSeconds))
            }
        }
    }

    /// Containers without a row. A row is removed after its container, so they are left-overs of another database.
    private static func orphanActions(_ orphans: [ContainerObservation], _ input: PlannerInput) -> [Action] {
        orphans.sorted { $0.id < $1.id }.compactMap { container in
            guard !input.busy.contains(container.id) else { return nil }
            if container.state != .exited {
                return .stop(container.id, graceSeconds: input.settings.graceSeconds)
            }
            return input.routers.allSatisfy { $0.revision >= 0 } ? .remove(container.id) : nil
        }
    }
}
