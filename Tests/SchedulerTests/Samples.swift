import Domain

extension Timestamp {
    static func at(_ seconds: Double) -> Timestamp { Timestamp(microseconds: 0).adding(seconds: seconds) }
}

extension Identifier {
    /// The same each time, so that a failure can be repeated.
    static func number(_ n: Int) -> Self {
        let digits = String(n)
        let text = "00000000-0000-4000-8000-" + String(repeating: "0", count: 12 - digits.count) + digits
        return Self(text) ?? .random()
    }
}

extension App {
    static let sample = App(
        id: .number(1), name: "x", space: .number(2), spaceName: "default", networkIndex: 0, uidSlot: 3,
        stack: "debian-13", createdAt: .at(0), updatedAt: .at(0))
}

extension SlugDigest {
    static var sample: SlugDigest {
        guard let digest = SlugDigest("sha256:" + String(repeating: "a", count: 64)) else {
            preconditionFailure("a digest of 64 digits is valid")
        }
        return digest
    }
}

extension PortBinding {
    static func tcp(
        _ name: String, type: String = "web", target: UInt16 = 5000, drain: Int = 30, createdAt: Double = 0
    ) -> PortBinding {
        PortBinding(
            id: .number(900 + Int(target % 100)), app: App.sample.id, name: name, protocol: .tcp, processType: type,
            targetPort: target, publicPort: 20_000, drainSeconds: drain, createdAt: .at(createdAt))
    }
}

extension Release {
    static func sample(_ version: Int, _ state: State, types: [String: String] = ["web": "ok"]) -> Release {
        Release(
            id: .number(800 + version), version: version, app: App.sample.id, state: state, slug: .sample,
            stack: "debian-13", processTypes: types, configVersion: 0, description: "Deploy", createdBy: "admin",
            createdAt: .at(0))
    }
}

extension ProcessInstance {
    static func sample(
        _ n: Int, _ type: String = "web", index: Int = 1, release: Int = 1, state: State, since: Double = 0,
        upAt: Double? = nil, wasRouted: Bool = true, unrouted: Int64? = nil
    ) -> ProcessInstance {
        let wasStarted = state != .planned
        return ProcessInstance(
            id: .number(n), app: App.sample.id, type: type, index: index, release: release, generation: 1, epoch: 1,
            state: state, pid: wasStarted ? Int32(n) : nil, pidStartTime: wasStarted ? Int64(n) : nil,
            bootID: wasStarted ? "boot" : nil, unroutedRevision: unrouted, createdAt: .at(since), since: .at(since),
            upAt: (upAt ?? (state == .up ? since : nil)).map { .at($0) },
            wasRouted: wasRouted && wasStarted)
    }

    /// The container that belongs to it.
    func container(
        _ state: ContainerObservation.State = .running, ready: Bool = true, exitCode: Int32? = nil,
        sockets: [ObservedSocket] = [], outOfMemory: Bool = false, bootID: String = "boot"
    ) -> ContainerObservation {
        let number = Int32(id.description.suffix(12)) ?? 0
        return ContainerObservation(
            id: id, app: app, name: name, isBuild: false, epoch: 1, generation: 1, state: state, node: "n",
            bootID: bootID, pid: number, pidStartTime: Int64(number), address4: "10.0.0.\(number % 200)",
            ready: ready && state == .running, sockets: sockets, exitCode: exitCode, outOfMemory: outOfMemory)
    }
}
