import Domain
import Synchronization

/// A store for one app in memory, with the transactions of the real one.
final class FakeStore: SchedulerStore, Sendable {
    struct State: Sendable {
        var app: App
        var isRemoved = false
        var formation: Formation = [:]
        var releases: [Release] = []
        var ports: [PortBinding] = []
        var instances: [ProcessInstance] = []
        var slots: [AppSnapshot.Slot] = []
        var operations: [Operation] = []
        var runs: [ReleaseRun] = []
        var events: [String] = []
        var revision: Int64 = 1
        var epoch: Int64 = 1
        var routers: [String: RouterRecord] = [:]
        var config: [Int: ConfigVars] = [0: [:]]
        var hasActiveBuild = false
        /// What goes wrong next time, for tests of the shell.
        var failure: PaaSError?
    }

    let state: Mutex<State>

    init(app: App = .sample) { state = Mutex(State(app: app)) }

    func read<T: Sendable>(_ body: (State) -> T) -> T { state.withLock { body($0) } }
    func change(_ body: (inout State) -> Void) { state.withLock { body(&$0) } }

    private func transaction<T: Sendable>(
        epoch: Int64? = nil, _ body: (inout State) throws(PaaSError) -> T
    ) throws(PaaSError) -> T {
        try state.withLock { state throws(PaaSError) in
            if let failure = state.failure { throw failure }
            if let epoch, epoch != state.epoch { throw PaaSError(.stale, "epoch \(epoch) is not \(state.epoch)") }
            return try body(&state)
        }
    }

    private func update(
        _ id: InstanceID, epoch: Int64, _ body: (inout State, Int) throws(PaaSError) -> Void
    ) throws(PaaSError) {
        try transaction(epoch: epoch) { state throws(PaaSError) in
            guard let index = state.instances.firstIndex(where: { $0.id == id }) else {
                throw PaaSError(.notFound, "no instance \(id)")
            }
            try body(&state, index)
        }
    }

    // MARK: What users do

    func scale(_ type: String, to quantity: Int, now: Timestamp) -> OperationID {
        let id = OperationID.random()
        change { state in
            state.formation[type, default: FormationEntry(quantity: 0)].quantity = quantity
            state.app.generation += 1
            state.operations.append(
                Operation(
                    id: id, kind: .scale, app: state.app.id, target: "/api/v1/apps/x/formation", scope: [type],
                    startedAt: now))
        }
        return id
    }

    func release(_ processTypes: [String: String], manifest: ReleaseManifest = ReleaseManifest(), now: Timestamp) -> Int
    {
        state.withLock { state in
            let version = (state.releases.last?.version ?? 0) + 1
            for index in state.runs.indices
            where state.releases.contains(where: {
                $0.version == state.runs[index].version && ($0.state == .pending || $0.state == .rolling)
            }) && [.pending, .running].contains(state.runs[index].state) {
                state.runs[index].state = .superseded
            }
            if let command = processTypes["release"] {
                state.runs.append(ReleaseRun(kind: .release, version: version, command: command))
            }
            if let command = manifest.postdeploy, state.app.currentRelease == nil {
                state.runs.append(ReleaseRun(kind: .postdeploy, version: version, command: command))
            }
            for index in state.releases.indices
            where state.releases[index].state == .pending || state.releases[index].state == .rolling {
                state.releases[index].state = .superseded
            }
            let operation = Operation(
                id: .random(), kind: .release, app: state.app.id, target: "/api/v1/apps/x/releases/\(version)",
                startedAt: now)
            state.operations.append(operation)
            state.releases.append(
                Release(
                    id: .random(), version: version, app: state.app.id, state: .pending,
                    slug: .sample, stack: "debian-13", processTypes: processTypes, configVersion: 0,
                    description: "Deploy", createdBy: "admin", createdAt: now, operation: operation.id,
                    manifest: manifest))
            return version
        }
    }

    func replace(_ name: String, now: Timestamp) -> OperationID {
        let id = OperationID.random()
        change { state in
            for index in state.instances.indices
            where state.instances[index].name == name
                && [.planned, .starting, .up, .crashed].contains(state.instances[index].state)
            {
                state.instances[index].replaceRequested = true
            }
            state.operations.append(
                Operation(
                    id: id, kind: .replaceProcess, app: state.app.id, target: "/api/v1/apps/x/processes/\(name)",
                    scope: [name], startedAt: now))
        }
        return id
    }

    func operation(_ id: OperationID) -> Operation? { read { $0.operations.first { $0.id == id } } }
    func releaseState(_ version: Int) -> Release.State? {
        read { $0.releases.first { $0.version == version }?.state }
    }

    // MARK: SchedulerStore

    func appIDs() async throws(PaaSError) -> [AppID] { try transaction { $0.isRemoved ? [] : [$0.app.id] } }

    func snapshot(_ app: AppID) async throws(PaaSError) -> AppSnapshot? {
        try transaction { state in
            guard !state.isRemoved, state.app.id == app else { return nil }
            return AppSnapshot(
                app: state.app, formation: state.formation, current: state.releases.last { $0.state == .current },
                candidate: state.releases.last { $0.state == .pending || $0.state == .rolling }, ports: state.ports,
                instances: state.instances, slots: state.slots,
                operations: state.operations.filter { !$0.state.isFinal },
                runs: state.runs.filter { Self.isDue($0, state) }, hasActiveBuild: state.hasActiveBuild)
        }
    }

    func release(_ app: AppID, version: Int) async throws(PaaSError) -> Release {
        try transaction { state throws(PaaSError) in
            guard let release = state.releases.first(where: { $0.version == version }) else {
                throw PaaSError(.notFound, "no release v\(version)")
            }
            return release
        }
    }

    func configVars(_ app: AppID, version: Int) async throws(PaaSError) -> ConfigVars {
        try transaction { $0.config[version] ?? [:] }
    }

    func insertPlanned(_ instances: [ProcessInstance], epoch: Int64) async throws(PaaSError) {
        try transaction(epoch: epoch) { $0.instances += instances }
    }

    func markStarting(_ id: InstanceID, _ observation: ContainerObservation, epoch: Int64, now: Timestamp)
        async throws(PaaSError)
    {
        try update(id, epoch: epoch) { state, index in
            state.instances[index].state = .starting
            state.instances[index].pid = observation.pid
            state.instances[index].pidStartTime = observation.pidStartTime
            state.instances[index].bootID = observation.bootID
            state.instances[index].address4 = observation.address4
            state.instances[index].since = now
        }
    }

    func markUp(_ id: InstanceID, _ observation: ContainerObservation, epoch: Int64, now: Timestamp)
        async throws(PaaSError) -> Int64
    {
        try update(id, epoch: epoch) { state, index throws(PaaSError) in
            guard state.instances[index].state == .starting else {
                throw PaaSError(.conflict, "not starting but \(state.instances[index].state)")
            }
            state.instances[index].state = .up
            state.instances[index].upAt = now
            let type = state.instances[index].type
            if state.ports.contains(where: { $0.processType == type }) { state.instances[index].wasRouted = true }
            state.instances[index].since = now
            state.revision += 1
        }
        return read { $0.revision }
    }

    func unroute(_ ids: [InstanceID], reason: String, epoch: Int64, now: Timestamp) async throws(PaaSError) -> Int64 {
        try transaction(epoch: epoch) { state in
            state.revision += 1
            for index in state.instances.indices where ids.contains(state.instances[index].id) {
                state.instances[index].state = .stopping
                state.instances[index].reason = reason
                state.instances[index].unroutedRevision = state.revision
                state.instances[index].since = now
            }
            return state.revision
        }
    }

    func markCrashed(
        _ id: InstanceID, exitCode: Int32?, reason: String, slotRestarts: Int, nextStartAt: Timestamp, epoch: Int64,
        now: Timestamp
    ) async throws(PaaSError) -> Int64 {
        try update(id, epoch: epoch) { state, index in
            state.revision += 1
            state.instances[index].state = .crashed
            state.instances[index].exitCode = exitCode
            state.instances[index].reason = reason
            state.instances[index].unroutedRevision = state.revision
            state.instances[index].since = now
            let row = state.instances[index]
            state.slots.removeAll { $0.type == row.type && $0.index == row.index }
            state.slots.append(
                .init(
                    type: row.type, index: row.index, release: row.release, restarts: slotRestarts,
                    nextStartAt: nextStartAt))
            state.events.append("process.crashed")
        }
        return read { $0.revision }
    }

    func markExited(_ id: InstanceID, exitCode: Int32?, epoch: Int64, now: Timestamp) async throws(PaaSError) {
        try update(id, epoch: epoch) { state, index in
            state.instances[index].state = .exited
            state.instances[index].exitCode = exitCode
            state.instances[index].since = now
        }
    }

    func setStopAt(_ id: InstanceID, _ at: Timestamp, epoch: Int64) async throws(PaaSError) {
        try update(id, epoch: epoch) { state, index in state.instances[index].stopAt = at }
    }

    func removeInstance(_ id: InstanceID, epoch: Int64) async throws(PaaSError) {
        try transaction(epoch: epoch) { $0.instances.removeAll { $0.id == id } }
    }

    func resetSlot(_ app: AppID, type: String, index: Int, epoch: Int64) async throws(PaaSError) {
        try transaction(epoch: epoch) { $0.slots.removeAll { $0.type == type && $0.index == index } }
    }

    func markRolling(_ app: AppID, version: Int, epoch: Int64, now: Timestamp) async throws(PaaSError) {
        try transaction(epoch: epoch) { state in
            for index in state.releases.indices where state.releases[index].version == version {
                state.releases[index].state = .rolling
                state.releases[index].startedAt = now
            }
        }
    }

    func markCurrent(_ app: AppID, version: Int, epoch: Int64, now: Timestamp) async throws(PaaSError) {
        try transaction(epoch: epoch) { state in
            for index in state.releases.indices {
                if state.releases[index].state == .current { state.releases[index].state = .superseded }
                if state.releases[index].version == version {
                    state.releases[index].state = .current
                    state.releases[index].wasCurrent = true
                    let operation = state.releases[index].operation
                    for other in state.operations.indices where state.operations[other].id == operation {
                        state.operations[other].state = .completed
                    }
                }
            }
            state.app.currentRelease = version
            state.events.append("release.current")
        }
    }

    func markReleaseFailed(_ app: AppID, version: Int, output: String, epoch: Int64, now: Timestamp)
        async throws(PaaSError)
    {
        try transaction(epoch: epoch) { state in
            for index in state.releases.indices where state.releases[index].version == version {
                state.releases[index].state = .failed
                state.releases[index].output = output
                let operation = state.releases[index].operation
                for other in state.operations.indices where state.operations[other].id == operation {
                    state.operations[other].state = .failed
                }
            }
            state.events.append("release.failed")
        }
    }

    private static func isDue(_ run: ReleaseRun, _ state: State) -> Bool {
        guard run.state == .pending || run.state == .running,
            let release = state.releases.first(where: { $0.version == run.version })
        else { return false }
        return switch run.kind {
        case .release: release.state == .pending || release.state == .rolling
        case .postdeploy: release.wasCurrent
        }
    }

    func beginRun(_ kind: ReleaseRun.Kind, version: Int, instance: ProcessInstance, epoch: Int64, now: Timestamp)
        async throws(PaaSError)
    {
        try transaction(epoch: epoch) { state throws(PaaSError) in
            guard
                let index = state.runs.firstIndex(where: {
                    $0.kind == kind && $0.version == version && $0.state == .pending
                }), Self.isDue(state.runs[index], state)
            else { throw PaaSError(.conflict, "\(kind).\(version) is not pending") }
            state.runs[index].state = .running
            state.runs[index].instance = instance.id
            state.runs[index].startedAt = now
            state.instances.append(instance)
        }
    }

    func endRun(_ app: AppID, _ end: ReleaseRunEnd, output: String, epoch: Int64, now: Timestamp)
        async throws(PaaSError)
    {
        try transaction(epoch: epoch) { state throws(PaaSError) in
            guard let index = state.runs.firstIndex(where: { $0.kind == end.kind && $0.version == end.version }) else {
                throw PaaSError(.notFound, "no run \(end.name)")
            }
            for other in state.instances.indices where state.instances[other].id == end.instance {
                state.instances[other].state = end.isOver ? .exited : .stopping
                state.instances[other].unroutedRevision = state.revision
            }
            state.runs[index].output = output
            guard state.runs[index].state == .running else { return }
            state.runs[index].exitCode = end.exitCode
            switch end.result {
            case .succeeded: state.runs[index].state = .succeeded
            case .stopped: state.runs[index].state = .failed
            case .failed(let reason):
                state.runs[index].state = .failed
                state.runs[index].reason = reason
                guard end.kind == .release else { return }
                for release in state.releases.indices where state.releases[release].version == end.version {
                    state.releases[release].state = .failed
                    let operation = state.releases[release].operation
                    for other in state.operations.indices where state.operations[other].id == operation {
                        state.operations[other].state = .failed
                    }
                }
                state.events.append("release.failed")
            }
        }
    }

    func run(_ kind: ReleaseRun.Kind, _ version: Int) -> ReleaseRun? {
        read { $0.runs.first { $0.kind == kind && $0.version == version } }
    }

    func finishOperation(
        _ id: OperationID, state final: Operation.State, error: ErrorReport?, epoch: Int64, now: Timestamp
    ) async throws(PaaSError) {
        try transaction(epoch: epoch) { state in
            for index in state.operations.indices where state.operations[index].id == id {
                state.operations[index].state = final
                state.operations[index].error = error
                state.operations[index].finishedAt = now
            }
        }
    }

    func setOperationProgress(_ id: OperationID, _ progress: Double, epoch: Int64) async throws(PaaSError) {
        try transaction(epoch: epoch) { state in
            for index in state.operations.indices where state.operations[index].id == id {
                state.operations[index].progress = progress
            }
        }
    }

    func removeApp(_ app: AppID, epoch: Int64, now: Timestamp) async throws(PaaSError) -> RemovedApp? {
        try transaction(epoch: epoch) { state throws(PaaSError) in
            if state.hasActiveBuild { throw PaaSError(.conflict, "a build has not ended") }
            state.isRemoved = true
            return RemovedApp(app: app, slugs: [.sample])
        }
    }

    func recordEvent(kind: String, app: AppID?, data: [String: String], now: Timestamp) async throws(PaaSError) {
        try transaction { $0.events.append(kind) }
    }

    func routingTable(bootID: String) async throws(PaaSError) -> RoutingTable {
        try transaction { Self.table($0) }
    }

    func routingMark(bootID: String) async throws(PaaSError) -> RoutingTable.Mark {
        try await routingTable(bootID: bootID).mark
    }

    static func table(_ state: State) -> RoutingTable {
        let mark = RoutingTable.Mark(tableID: "table", revision: state.revision, bootID: "boot")
        let routes = state.ports.map { port in
            RoutingTable.Route(
                binding: port.id, app: state.app.name, name: port.name, protocol: port.protocol,
                publicPort: port.publicPort,
                backends: state.instances.filter { $0.type == port.processType && $0.state == .up }.map {
                    .init(
                        instance: $0.id, name: $0.name, address4: $0.address4, address6: nil, port: port.targetPort)
                })
        }
        return RoutingTable(mark: mark, routes: routes)
    }

    func recordAcknowledgement(router: String, _ ack: RouterAcknowledgement, now: Timestamp) async throws(PaaSError) {
        try transaction {
            $0.routers[router] = RouterRecord(id: router, revision: ack.mark.revision, seenAt: now)
        }
    }

    func routers() async throws(PaaSError) -> [RouterRecord] {
        try transaction { $0.routers.values.sorted { $0.id < $1.id } }
    }
}
