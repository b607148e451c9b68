import Domain
import Synchronization

@testable import Scheduler

struct SeededGenerator: RandomNumberGenerator {
    var state: UInt64
    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var z = state
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }
}

/// An engine whose containers behave as their command says, in virtual time: `ok`, `slow SECONDS`, `never`,
/// `exit SECONDS CODE`, `start-error`, `start-busy`.
final class FakeEngine: ContainerEngine, Sendable {
    struct Container: Sendable {
        var spec: ContainerSpec
        var pid: Int32
        var startedAt: Timestamp
        var exitedAt: Timestamp?
        var exitCode: Int32?
        var bootID: String
    }

    struct State: Sendable {
        var now = Timestamp.at(0)
        var containers: [InstanceID: Container] = [:]
        var ensured: [InstanceID: Int] = [:]
        /// How many containers were made for each name, ever.
        var made: [String: Int] = [:]
        var nextPID: Int32 = 100
        var bootID = "boot-1"
        var stops: [InstanceID] = []
        /// Processes end by SIGKILL only.
        var ignoreSIGTERM = false
        /// Seconds that stops were given, in their order.
        var graces: [Int] = []
        var removed: [InstanceID] = []
        var streams: [AsyncThrowingStream<EngineEvent, any Error>.Continuation] = []
    }

    let state = Mutex(State())

    func capabilities() async throws(PaaSError) -> EngineCapabilities {
        EngineCapabilities(seesSockets: true, node: "n", bootID: state.withLock { $0.bootID }, runtime: "fake")
    }

    func ensure(_ spec: ContainerSpec) async throws(PaaSError) -> ContainerObservation {
        if spec.command == "start-error" { throw PaaSError(.appFailed, "no such slug") }
        if spec.command == "start-busy" { throw PaaSError(.unavailable, "the host's disk is full") }
        return state.withLock { state in
            state.ensured[spec.id, default: 0] += 1
            if state.containers[spec.id] == nil {
                state.nextPID += 1
                state.made[spec.name, default: 0] += 1
                state.containers[spec.id] = Container(
                    spec: spec, pid: state.nextPID, startedAt: state.now, bootID: state.bootID)
            }
            let result = Self.observation(spec.id, &state)
            for stream in state.streams { stream.yield(.changed(result)) }
            return result
        }
    }

    func stop(_ id: InstanceID, graceSeconds: Int, epoch: Int64) async throws(PaaSError) {
        state.withLock { $0.graces.append(graceSeconds) }
        while graceSeconds > 0, state.withLock({ $0.ignoreSIGTERM && $0.containers[id]?.exitedAt == nil }) {
            if Task.isCancelled { throw PaaSError(.cancelled, "the test is over") }
            await Task.yield()
        }
        end(id, code: 143)
        state.withLock { $0.stops.append(id) }
    }

    /// As if the process died.
    func end(_ id: InstanceID, code: Int32) {
        state.withLock { state in
            guard state.containers[id] != nil, state.containers[id]?.exitedAt == nil else { return }
            state.containers[id]?.exitedAt = state.now
            state.containers[id]?.exitCode = code
            let result = Self.observation(id, &state)
            for stream in state.streams { stream.yield(.changed(result)) }
        }
    }

    func remove(_ id: InstanceID, epoch: Int64) async throws(PaaSError) {
        state.withLock { state in
            state.containers[id] = nil
            state.removed.append(id)
            for stream in state.streams { stream.yield(.removed(id)) }
        }
    }

    func observe(epoch: Int64) async throws(PaaSError) -> AsyncThrowingStream<EngineEvent, any Error> {
        let (stream, continuation) = AsyncThrowingStream<EngineEvent, any Error>.makeStream()
        state.withLock { state in
            let ids = state.containers.keys.sorted()
            continuation.yield(.list(ids.map { Self.observation($0, &state) }))
            state.streams.append(continuation)
        }
        return stream
    }

    func logs(app: AppID, instance: InstanceID?, matching query: LogQuery, after: LogCursor?, limit: Int)
        async throws(PaaSError) -> LogPage
    {
        LogPage(
            lines: [LogLine(time: .at(0), source: .app, process: "web.1", text: "last words")], next: LogCursor("1"))
    }

    func removeLogs(app: AppID, epoch: Int64) async throws(PaaSError) {}

    func list() -> [ContainerObservation] {
        state.withLock { state in state.containers.keys.sorted().map { Self.observation($0, &state) } }
    }

    func advance(to time: Timestamp) { state.withLock { $0.now = time } }

    /// Everything is gone, as after a power cut.
    func reboot() {
        state.withLock { state in
            state.containers = [:]
            state.bootID += "+"
        }
    }

    /// Ends the streams, as when the engine restarts.
    func disconnect() {
        state.withLock { state in
            for stream in state.streams { stream.finish(throwing: PaaSError(.unavailable, "engine lost")) }
            state.streams = []
        }
    }

    private static func observation(_ id: InstanceID, _ state: inout State) -> ContainerObservation {
        guard var container = state.containers[id] else { preconditionFailure("no container \(id)") }
        let words = container.spec.command.split(separator: " ")
        let age = state.now.seconds(since: container.startedAt)
        if container.exitedAt == nil, words.first == "exit", let after = Double(words[1]), age >= after {
            container.exitedAt = container.startedAt.adding(seconds: after)
            container.exitCode = Int32(words[2])
            state.containers[id] = container
        }
        let isReady: Bool =
            switch words.first {
            case "slow": age >= (Double(words[1]) ?? 0)
            case "never": false
            default: true
            }
        return ContainerObservation(
            id: id, app: container.spec.app, name: container.spec.name, isBuild: false, epoch: container.spec.epoch,
            generation: container.spec.generation, state: container.exitedAt == nil ? .running : .exited, node: "n",
            bootID: container.bootID, pid: container.pid, pidStartTime: Int64(container.pid),
            address4: "10.0.0.\(container.pid % 250)", ready: isReady && container.exitedAt == nil,
            startedAt: container.startedAt, exitedAt: container.exitedAt, exitCode: container.exitCode)
    }
}

struct QuietLog: LogSink { func append(app: AppID, _ line: LogLine) {} }

final class RecordedCleanup: AppCleanup, Sendable {
    let apps = Mutex<[AppID]>([])
    let removed = Mutex<[RemovedApp]>([])
    func cleanUp(_ app: App) async throws(PaaSError) { apps.withLock { $0.append(app.id) } }
    func removeFiles(of app: RemovedApp) async throws(PaaSError) { removed.withLock { $0.append(app) } }
}
