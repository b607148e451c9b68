import Domain

/// What the engine is known to run, from its list, its changes and its answers. Of builds only whether they live.
struct EngineView: Sendable {
    private struct Entry: Sendable {
        var container: ContainerObservation
        /// Counts what was learned, to tell what is newer than a list that was asked for earlier.
        var learnedAt: Int
    }

    private var apps: [AppID: [InstanceID: Entry]] = [:]
    private var owners: [InstanceID: AppID] = [:]
    /// Build containers that have not exited.
    private var builds: [InstanceID: AppID] = [:]
    private var counter = 0
    private var askedAt = 0
    /// A list was received and the engine has not been lost since.
    private(set) var isCurrent = false

    var knownApps: [AppID] { apps.compactMap { $0.value.isEmpty ? nil : $0.key } }

    /// Nil while the engine is away.
    func containers(of app: AppID) -> [InstanceID: ContainerObservation]? {
        guard isCurrent else { return nil }
        return apps[app]?.mapValues(\.container) ?? [:]
    }

    func buildRuns(of app: AppID) -> Bool { builds.values.contains(app) }

    func container(_ id: InstanceID) -> ContainerObservation? {
        owners[id].flatMap { apps[$0]?[id]?.container }
    }

    /// A list is being asked for: what is learned from now on is newer than it.
    mutating func willObserve() { askedAt = counter }

    mutating func lost() { isCurrent = false }

    /// Returns the apps that it concerns.
    mutating func apply(_ event: EngineEvent) -> Set<AppID> {
        switch event {
        case .list(let containers):
            var concerned = Set(apps.keys)
            let old = apps
            apps = [:]
            owners = [:]
            for entry in old.values.flatMap(\.values) where entry.learnedAt > askedAt { put(entry.container) }
            concerned.formUnion(builds.values)
            builds = [:]
            for container in containers {
                if container.isBuild { putBuild(container) } else { put(container) }
                concerned.insert(container.app)
            }
            isCurrent = true
            return concerned
        case .changed(let container):
            if container.isBuild { putBuild(container) } else { put(container) }
            return [container.app]
        case .removed(let id):
            if let app = builds.removeValue(forKey: id) { return [app] }
            guard let app = owners[id] else { return [] }
            forget(id)
            return [app]
        }
    }

    private mutating func putBuild(_ container: ContainerObservation) {
        builds[container.id] = container.state == .exited ? nil : container.app
    }

    /// An answer of the engine's about one container.
    mutating func put(_ container: ContainerObservation) {
        counter += 1
        var newest = container
        if let known = apps[container.app]?[container.id]?.container, known.bootID == container.bootID {
            newest = Self.later(known, container)
        }
        apps[container.app, default: [:]][container.id] = Entry(container: newest, learnedAt: counter)
        owners[container.id] = container.app
    }

    mutating func forget(_ id: InstanceID) {
        guard let app = owners.removeValue(forKey: id) else { return }
        apps[app]?[id] = nil
        if apps[app]?.isEmpty == true { apps[app] = nil }
    }

    // Answers and events come on different ways and may overtake each other; a container never goes backwards.
    private static func later(_ a: ContainerObservation, _ b: ContainerObservation) -> ContainerObservation {
        func rank(_ state: ContainerObservation.State) -> Int {
            switch state {
            case .creating: 0
            case .running: 1
            case .exited: 2
            }
        }
        if rank(a.state) > rank(b.state) { return a }
        var result = b
        result.ready = b.ready || a.ready
        return result
    }
}
