import Domain
import Logging
import Synchronization

/// Calls `work`, again while a part of the platform is away, for at most `limit`. Only for what may be repeated.
/// - Throws: what `work` throws; `cancelled` when the task is.
func patiently<Value: Sendable>(
    _ limit: Duration, _ work: @Sendable () async throws(PaaSError) -> Value
) async throws(PaaSError) -> Value {
    let start = ContinuousClock.now
    var pause = Duration.milliseconds(50)
    while true {
        if Task.isCancelled { throw PaaSError(.cancelled, "given up") }
        do throws(PaaSError) {
            return try await work()
        } catch {
            guard error.code == .unavailable, ContinuousClock.now - start < limit else { throw error }
        }
        do { try await Task.sleep(for: pause) } catch { throw PaaSError(.cancelled, "given up") }
        pause = min(pause * 2, .seconds(1))
    }
}

/// What becomes of a step that is not waited for in any case.
private final class Outcome<Value: Sendable>: Sendable {
    let result = Mutex<Result<Value, BuildStop>?>(nil)
}

/// How the steps of a build meet the world: interrupted, cancelled, tried again while a part is away, spoken about.
extension BuildRun {
    /// How long a step waits for a part of the platform that is away. Restarts take two seconds.
    static let patience = Duration.seconds(120)

    /// Calls `work`, again while a part of the platform is away. Only for what may be repeated.
    @discardableResult
    func step<Value: Sendable>(
        _ work: @Sendable () async throws(PaaSError) -> Value
    ) async throws(BuildStop) -> Value {
        try await check()
        return try await persist(work)
    }

    /// As `step`, but also for a build that is being cancelled.
    @discardableResult
    func persist<Value: Sendable>(
        _ work: @Sendable () async throws(PaaSError) -> Value
    ) async throws(BuildStop) -> Value {
        do throws(PaaSError) {
            return try await patiently(Self.patience, work)
        } catch {
            if Task.isCancelled || error.code == .stale { throw .interrupted }
            throw .failed(error)
        }
    }

    /// As `step`, for what the engine itself does for a build, and for long: a wish to cancel ends that.
    func engineStep<Value: Sendable>(
        _ work: @escaping @Sendable () async throws(PaaSError) -> Value
    ) async throws(BuildStop) -> Value {
        let (parts, progress, id, logger) = (parts, progress, id, logger)
        let ending = Task {
            while !Task.isCancelled {
                let version = progress.signal.version
                if progress.cancelRequested { break }
                await progress.signal.wait(after: version)
            }
            if Task.isCancelled { return }
            do throws(PaaSError) {
                try await parts.buildEngine.abandonWork(build: id, epoch: parts.epoch)
            } catch {
                logger.warning("the engine can't be told to end", metadata: ["error": "\(ErrorChain(error))"])
            }
        }
        defer { ending.cancel() }
        do throws(BuildStop) {
            return try await step(work)
        } catch {
            try await check()
            throw error
        }
    }

    /// As `step`, for what nobody waits for once the build is cancelled. It comes to its end by itself, in a volume that is
    /// gone.
    @discardableResult
    func looseStep<Value: Sendable>(
        _ work: @escaping @Sendable () async throws(PaaSError) -> Value
    ) async throws(BuildStop) -> Value {
        try await check()
        let outcome = Outcome<Value>()
        let signal = progress.signal
        let task = Task {
            let result: Result<Value, BuildStop>
            do throws(BuildStop) {
                result = .success(try await persist(work))
            } catch {
                result = .failure(error)
            }
            outcome.result.withLock { $0 = result }
            signal.raise()
        }
        while true {
            let version = signal.version
            if let result = outcome.result.withLock({ $0 }) { return try result.get() }
            do throws(BuildStop) {
                try await check()
            } catch {
                task.cancel()
                throw error
            }
            await signal.wait(after: version)
        }
    }

    func check() async throws(BuildStop) {
        if Task.isCancelled { throw .interrupted }
        if progress.cancelRequested { throw .cancelled }
    }

    /// A line for the pusher. A log that can't be written does not end a build.
    func say(_ line: String) async {
        do throws(PaaSError) {
            try await parts.log.append(id, [line], cursor: nil)
        } catch {
            logger.error("a line of a build's log is lost", metadata: ["error": "\(ErrorChain(error))"])
        }
        progress.signal.raise()
    }

    /// A line that an earlier paasd may have said already.
    func sayOnce(_ line: String) async {
        if adopted, await hasSaid(line) { return }
        await say(line)
    }

    private func hasSaid(_ line: String) async -> Bool {
        var position = BuildLogPosition.start
        do throws(PaaSError) {
            while true {
                let page = try await parts.log.read(id, from: position, limit: 1000)
                if page.lines.contains(line) { return true }
                if page.lines.isEmpty { return false }
                position = page.next
            }
        } catch {
            logger.error("a build's log can't be read", metadata: ["error": "\(ErrorChain(error))"])
            return false
        }
    }
}
