import Domain
import FoundationEssentials
import Glibc
import OS

/// What the engine must know of a container to find it again after a restart: written before each effect that
/// depends on it. Holds no secret.
struct ContainerRecord: Sendable, Codable, Hashable {
    enum Phase: String, Sendable, Codable {
        /// Being made. Found at start, everything of it is undone.
        case creating
        case running
        case exited
    }

    var id: InstanceID
    var app: AppID
    var name: String
    var isBuild: Bool
    var epoch: Int64
    var generation: Int64
    var bootID: String
    var networkIndex: Int
    var requiredPorts: [ContainerSpec.RequiredPort]
    var phase: Phase
    var pid: Int32?
    var pidStartTime: Int64?
    var monitorPid: Int32?
    var monitorStartTime: Int64?
    var address4: String?
    var address6: String?
    var ready = false
    var startedAt: Timestamp?
    var exitedAt: Timestamp?
    var exitCode: Int32?
    var outOfMemory = false
    var timedOut = false
    /// On the clock that goes on while the machine sleeps, seconds since boot.
    var deadline: Double?
    var timeLimitSeconds: Int?
    /// Of one that runs once: its first process was about to be let go. Optional, because records of an older engine lack it.
    var mayHaveRun: Bool?

    init(_ spec: ContainerSpec, bootID: String) {
        id = spec.id
        app = spec.app
        name = spec.name
        isBuild = spec.role == .build
        epoch = spec.epoch
        generation = spec.generation
        self.bootID = bootID
        networkIndex = spec.networkIndex
        requiredPorts = spec.requiredPorts
        phase = .creating
        timeLimitSeconds = spec.timeLimitSeconds
    }

    func observation(node: String, sockets: [ObservedSocket] = []) -> ContainerObservation {
        let state: ContainerObservation.State =
            switch phase {
            case .creating: .creating
            case .running: .running
            case .exited: .exited
            }
        return ContainerObservation(
            id: id, app: app, name: name, isBuild: isBuild, epoch: epoch, generation: generation, state: state,
            node: node, bootID: bootID, pid: pid, pidStartTime: pidStartTime, address4: address4, address6: address6,
            ready: ready, sockets: ready ? [] : sockets, startedAt: startedAt, exitedAt: exitedAt, exitCode: exitCode,
            outOfMemory: outOfMemory, timedOut: timedOut)
    }

    /// All or nothing. The file lies on a tmpfs, which a restart of the engine keeps and a reboot must not.
    func write(_ path: String) throws(PaaSError) {
        do {
            let bytes = Array(try JSONEncoder().encode(self))
            let temporary = path + ".new"
            let file = try OwnedFD.open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW, mode: 0o600)
            try file.writeAll(bytes)
            try Files.rename(temporary, path)
        } catch {
            throw PaaSError(.internal, "the state of container \(id) can't be written", cause: error)
        }
    }

    /// Nil if there is none, or none that can be read: such a container is undone.
    static func read(_ path: String) -> ContainerRecord? {
        guard let bytes = try? Files.read(path, limit: 1 << 20) else { return nil }
        return try? JSONDecoder().decode(ContainerRecord.self, from: Data(bytes))
    }
}
