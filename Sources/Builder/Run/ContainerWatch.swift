import Domain
import Logging
import Synchronization

/// What the engine says about build containers, kept current through engine restarts.
final class ContainerWatch: Sendable {
    private struct State {
        var seen: [InstanceID: ContainerObservation] = [:]
        var listed = false
    }
    private let state = Mutex(State())
    let signal = Signal()

    /// A full list has come at least once.
    var listed: Bool { state.withLock { $0.listed } }
    func observation(_ id: InstanceID) -> ContainerObservation? { state.withLock { $0.seen[id] } }
    var all: [ContainerObservation] { state.withLock { Array($0.seen.values) } }

    func apply(_ event: EngineEvent) {
        state.withLock { state in
            switch event {
            case .list(let all):
                state.seen = [:]
                for one in all where one.isBuild { state.seen[one.id] = one }
                state.listed = true
            case .changed(let one):
                if one.isBuild { state.seen[one.id] = one }
            case .removed(let id):
                state.seen[id] = nil
            }
        }
        signal.raise()
    }

    /// Follows the engine until the task is cancelled or another paasd is in charge.
    func run(_ engine: any ContainerEngine, epoch: Int64, logger: Logger) async throws(PaaSError) {
        var pause = Duration.milliseconds(50)
        while !Task.isCancelled {
            do {
                for try await event in try await engine.observe(epoch: epoch) {
                    pause = .milliseconds(50)
                    apply(event)
                }
            } catch let error as PaaSError where error.code == .stale {
                throw error
            } catch {
                if Task.isCancelled { return }
                logger.warning(
                    "the engine can't be followed, trying again", metadata: ["error": "\(ErrorChain(error))"])
            }
            do { try await Task.sleep(for: pause) } catch { return }
            pause = min(pause * 2, .seconds(1))
        }
    }

    /// Asks the engine anew. Needed where a missing container decides something: a list on its way may be older than a start.
    static func freshList(_ engine: any ContainerEngine, epoch: Int64) async throws(PaaSError) -> [ContainerObservation]
    {
        do {
            for try await event in try await engine.observe(epoch: epoch) {
                if case .list(let all) = event { return all }
            }
        } catch let error as PaaSError {
            throw error
        } catch {
            throw PaaSError(.unavailable, "the engine can't be reached", cause: error)
        }
        throw PaaSError(.unavailable, "the engine closed the connection; try again")
    }
}
