import Glibc
import Synchronization

/// Runs blocking work on its own threads, so that Swift's cooperative pool never waits for a disk or a C library.
public final class BlockingExecutor: Sendable {
    private struct State {
        var jobs: [@Sendable () -> Void] = []
        var idle = 0
        var threads = 0
        var closed = false
    }

    private let name: String
    private let width: Int
    private let state: Mutex<State>
    private let semaphore: Semaphore

    /// - Parameter width: most threads at a time; they start when needed.
    public init(_ name: String, width: Int) {
        self.name = name
        self.width = width
        state = Mutex(State())
        semaphore = Semaphore()
    }

    /// Ends the threads once the work that is queued is done.
    public func close() {
        let threads = state.withLock { state in
            state.closed = true
            return state.threads
        }
        for _ in 0..<threads { semaphore.signal() }
    }

    public func run<T: Sendable, E: Error>(_ body: @escaping @Sendable () throws(E) -> T) async throws(E) -> T {
        let result: Result<T, E> = await withCheckedContinuation { continuation in
            submit {
                do throws(E) {
                    continuation.resume(returning: .success(try body()))
                } catch {
                    continuation.resume(returning: .failure(error))
                }
            }
        }
        return try result.get()
    }

    private func submit(_ job: @escaping @Sendable () -> Void) {
        let startThread = state.withLock { state in
            state.jobs.append(job)
            if state.idle < state.jobs.count && state.threads < width {
                state.threads += 1
                return true
            }
            return false
        }
        if startThread { Thread.start(name) { self.work() } }
        semaphore.signal()
    }

    private func work() {
        while true {
            state.withLock { $0.idle += 1 }
            semaphore.wait()
            let job: (@Sendable () -> Void)? = state.withLock { state in
                state.idle -= 1
                if state.jobs.isEmpty {
                    if state.closed { state.threads -= 1 }
                    return nil
                }
                return state.jobs.removeFirst()
            }
            if let job {
                job()
            } else if state.withLock({ $0.closed }) {
                return
            }
        }
    }
}

/// A counting semaphore of POSIX.
final class Semaphore: Sendable {
    // SAFETY: sem_t is made for concurrent use; the memory lives as long as this object, which waiters retain.
    private nonisolated(unsafe) let raw: UnsafeMutablePointer<sem_t>

    init() {
        raw = .allocate(capacity: 1)
        precondition(sem_init(raw, 0, 0) == 0, "sem_init")
    }

    deinit {
        sem_destroy(raw)
        raw.deallocate()
    }

    func signal() { sem_post(raw) }
    func wait() { while sem_wait(raw) != 0 {} }
}
