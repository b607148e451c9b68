import Domain

/// Makes what the engine is told from what the store holds.
enum SpecFactory {
    /// - Parameter config: the vars of the release's config version.
    /// - Throws: `internal` if the release or the app does not have the instance's process type.
    static func spec(
        for instance: ProcessInstance, release: Release, config: ConfigVars, in snapshot: AppSnapshot, epoch: Int64
    ) throws(PaaSError) -> ContainerSpec {
        guard let command = release.processTypes[instance.type] else {
            throw PaaSError(.internal, "release v\(release.version) has no process type \(instance.type)")
        }
        let entry = snapshot.formation[instance.type] ?? FormationEntry(quantity: 0)
        let bindings = ordered(snapshot.ports.filter { $0.processType == instance.type })
        return ContainerSpec(
            id: instance.id, epoch: epoch, generation: instance.generation, role: .process(slug: release.slug),
            app: instance.app, appName: snapshot.app.name, name: instance.name,
            networkIndex: snapshot.app.networkIndex, uidSlot: snapshot.app.uidSlot, stack: release.stack,
            command: command,
            environment: environment(for: instance, config: config, bindings: bindings, app: snapshot.app),
            limits: .init(memoryBytes: entry.memoryBytes, cpuMillis: entry.cpuMillis),
            requiredPorts: requiredPorts(bindings))
    }

    /// A run of a release: as large as the largest process type of the release, without ports, for a limited time.
    /// - Parameters:
    ///   - config: the vars of the release's config version.
    ///   - timeLimitSeconds: after which the engine ends it.
    static func spec(
        for instance: ProcessInstance, run: ReleaseRun, release: Release, config: ConfigVars, in snapshot: AppSnapshot,
        epoch: Int64, timeLimitSeconds: Int
    ) -> ContainerSpec {
        // What migrates a database or fills a cache is the same code as what serves.
        let entries = snapshot.formation.filter { release.processTypes[$0.key] != nil }.map(\.value)
        let least = FormationEntry(quantity: 0)
        return ContainerSpec(
            id: instance.id, epoch: epoch, generation: instance.generation, role: .process(slug: release.slug),
            app: instance.app, appName: snapshot.app.name, name: instance.name,
            networkIndex: snapshot.app.networkIndex, uidSlot: snapshot.app.uidSlot, stack: release.stack,
            command: run.command,
            environment: environment(for: instance, config: config, bindings: [], app: snapshot.app),
            limits: .init(
                memoryBytes: entries.reduce(least.memoryBytes) { max($0, $1.memoryBytes) },
                cpuMillis: entries.reduce(least.cpuMillis) { max($0, $1.cpuMillis) }),
            timeLimitSeconds: timeLimitSeconds)
    }

    /// Sorted by name. What the platform sets wins over config vars.
    static func environment(
        for instance: ProcessInstance, config: ConfigVars, bindings: [PortBinding], app: App
    ) -> [EnvironmentVariable] {
        var values: [String: [UInt8]] = ["LANG": Array("C.UTF-8".utf8)]
        for (key, value) in config { values[key] = value.bytes }
        func set(_ key: String, _ text: String) { values[key] = Array(text.utf8) }
        set("HOME", "/app")
        set("PAAS_APP", app.name)
        set("PAAS_SPACE", app.spaceName)
        set("PAAS_PROCESS", instance.name)
        set("PAAS_RELEASE", "v\(instance.release)")
        set("DYNO", instance.name)
        if let first = bindings.first { set("PORT", "\(first.targetPort)") }
        for binding in bindings { set(binding.environmentName, "\(binding.targetPort)") }
        return values.sorted { $0.key < $1.key }.map { EnvironmentVariable(name: $0.key, value: $0.value) }
    }

    /// Distinct ports that have to be bound before a process is ready.
    static func requiredPorts(_ bindings: [PortBinding]) -> [ContainerSpec.RequiredPort] {
        var ports: [ContainerSpec.RequiredPort] = []
        for binding in ordered(bindings) {
            let port = ContainerSpec.RequiredPort(protocol: binding.protocol.transport, number: binding.targetPort)
            if !ports.contains(port) { ports.append(port) }
        }
        return ports
    }

    /// Oldest first: `PORT` is the first binding's.
    private static func ordered(_ bindings: [PortBinding]) -> [PortBinding] {
        bindings.sorted { ($0.createdAt, $0.name) < ($1.createdAt, $1.name) }
    }
}
