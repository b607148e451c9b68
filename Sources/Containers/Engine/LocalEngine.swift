import Domain
import FoundationEssentials
import Glibc
import OS
import Synchronization

/// The local engine, from paasd's side: both seams over the engine's socket. Blocking input and output happens on threads
/// of its own; requests share one connection, which is made anew when it was lost.
public final class LocalEngine: Sendable {
    private let socket: String
    private let platformID: String?
    private let state = Mutex(State())
    private let io = BlockingExecutor("engine-client", width: 4)

    private struct State {
        var nextID: UInt64 = 1
        var connection: Connection?
    }

    /// - Parameters:
    ///   - socket: `Settings.engineSocket`.
    ///   - platformID: `Settings.instance`; the engine of another platform refuses it.
    public init(socket: String, platformID: String? = nil) {
        self.socket = socket
        self.platformID = platformID
    }

    deinit {
        state.withLock { $0.connection }?.close(Self.down())
        io.close()
    }

    /// What can be told about the host from the engine's place.
    public func doctor() async throws(PaaSError) -> [HostFinding] {
        guard case .findings(let findings) = try await call(.doctor) else { throw Self.unexpected }
        return findings
    }

    static let unexpected = PaaSError(
        .internal, "the engine answered with something else; are both programs of one version?")

    static func down(_ cause: (any Error)? = nil) -> PaaSError {
        PaaSError(
            .unavailable, "the container engine does not answer; it is being restarted, try again", cause: cause)
    }

    func call(_ call: EngineCall, epoch: Int64? = nil) async throws(PaaSError) -> EngineResult {
        let id = state.withLock { state in
            defer { state.nextID += 1 }
            return state.nextID
        }
        let request = EngineRequest(id: id, epoch: epoch, platformID: platformID, call: call)
        let frame = try Self.encode(request)
        let connection = try await connect()
        let io = io
        let outcome: Result<EngineResult, PaaSError> = await withCheckedContinuation { continuation in
            guard connection.expect(id, continuation) else { return }
            Task {
                do throws(SystemError) {
                    try await io.run { () throws(SystemError) in try connection.channel.send(frame) }
                } catch {
                    connection.close(Self.down(error))
                }
            }
        }
        if case .success(.failed(let failure)) = outcome { throw failure.asError }
        return try outcome.get()
    }

    private static func encode(_ request: EngineRequest) throws(PaaSError) -> [UInt8] {
        let bytes: [UInt8]
        do {
            bytes = Array(try JSONEncoder().encode(request))
        } catch {
            throw PaaSError(.internal, "a request to the engine can't be written", cause: error)
        }
        guard bytes.count <= EngineProtocol.maximumRequestBytes else {
            throw PaaSError(.tooLarge, "the container's environment is too large; remove some config vars")
        }
        return bytes
    }

    /// The connection there is, or a new one.
    private func connect() async throws(PaaSError) -> Connection {
        if let known = state.withLock({ $0.connection }), known.isOpen { return known }
        let made = Connection(try await open())
        // Another call may have been quicker.
        let used = state.withLock { state in
            if let known = state.connection, known.isOpen { return known }
            state.connection = made
            return made
        }
        if used === made { made.start() } else { made.close(Self.down()) }
        return used
    }

    private func open() async throws(PaaSError) -> FrameChannel {
        let socket = socket
        do throws(SystemError) {
            return try await io.run { () throws(SystemError) in
                FrameChannel(try UnixSocket.connect(socket), maximumBytes: EngineProtocol.maximumReplyBytes)
            }
        } catch {
            throw Self.down(error)
        }
    }

    func follow(epoch: Int64) async throws(PaaSError) -> AsyncThrowingStream<EngineEvent, any Error> {
        let channel = try await open()
        let request = try Self.encode(EngineRequest(id: 0, epoch: epoch, platformID: platformID, call: .observe))
        let (stream, continuation) = AsyncThrowingStream.makeStream(
            of: EngineEvent.self, bufferingPolicy: .bufferingOldest(EventQueue.capacity))
        continuation.onTermination = { _ in channel.shutdown() }
        Thread.start("engine-events") {
            do {
                try channel.send(request)
                while let frame = try channel.receive() {
                    let reply = try JSONDecoder().decode(EngineReply.self, from: Data(frame))
                    switch reply.result {
                    case .done: break
                    case .event(let event):
                        // A list is lost if events are: the follower begins anew.
                        if case .dropped = continuation.yield(event) {
                            throw PaaSError(.unavailable, "too many events of the engine wait; follow it again")
                        }
                    case .failed(let failure): throw failure.asError
                    default: throw Self.unexpected
                    }
                }
                throw Self.down()
            } catch let error as PaaSError {
                continuation.finish(throwing: error)
            } catch {
                continuation.finish(throwing: Self.down(error))
            }
            channel.shutdown()
        }
        return stream
    }
}

/// One connection: who waits for which reply.
private final class Connection: Sendable {
    typealias Waiter = CheckedContinuation<Result<EngineResult, PaaSError>, Never>

    private struct State {
        var waiters: [UInt64: Waiter] = [:]
        var failure: PaaSError?
    }

    let channel: FrameChannel
    private let state = Mutex(State())

    init(_ channel: FrameChannel) { self.channel = channel }

    var isOpen: Bool { state.withLock { $0.failure == nil } }

    /// False if the connection is closed; the waiter has its answer then.
    func expect(_ id: UInt64, _ waiter: Waiter) -> Bool {
        let failure = state.withLock { state in
            if state.failure == nil { state.waiters[id] = waiter }
            return state.failure
        }
        if let failure { waiter.resume(returning: .failure(failure)) }
        return failure == nil
    }

    func start() {
        Thread.start("engine-replies") {
            do {
                while let frame = try self.channel.receive() {
                    let reply = try JSONDecoder().decode(EngineReply.self, from: Data(frame))
                    let waiter = self.state.withLock { $0.waiters.removeValue(forKey: reply.id) }
                    waiter?.resume(returning: .success(reply.result))
                }
                self.close(LocalEngine.down())
            } catch {
                self.close(LocalEngine.down(error))
            }
        }
    }

    func close(_ error: PaaSError) {
        let waiters = state.withLock { state in
            if state.failure == nil { state.failure = error }
            defer { state.waiters = [:] }
            return state.waiters
        }
        channel.shutdown()
        for waiter in waiters.values { waiter.resume(returning: .failure(error)) }
    }
}
