import Glibc
import Synchronization

/// One thread that runs blocking calls in order, so that they never hold a thread of Swift's cooperative pool.
/// It ends when the last reference goes.
final class SerialThread: Sendable {
    private typealias Job = @Sendable () -> Void

    /// What thread and owner share; the thread keeps it alive.
    private final class Inbox: @unchecked Sendable {
        // SAFETY: `jobs` is guarded by its mutex; `available` is a POSIX semaphore, made for concurrent use, allocated once and
        // freed when the last of owner and thread lets go of the inbox.
        let jobs = Mutex<[Job?]>([])
        let available = UnsafeMutablePointer<sem_t>.allocate(capacity: 1)

        init() { sem_init(available, 0, 0) }
        deinit {
            sem_destroy(available)
            available.deallocate()
        }

        func put(_ job: Job?) {
            jobs.withLock { $0.append(job) }
            sem_post(available)
        }

        /// Nil: the end.
        func take() -> Job? {
            while sem_wait(available) != 0 {}
            return jobs.withLock { $0.removeFirst() }
        }
    }

    private let inbox = Inbox()

    init() {
        var thread = pthread_t()
        let passed = Unmanaged.passRetained(inbox)
        let failure = pthread_create(
            &thread, nil,
            { argument in
                guard let argument else { return nil }
                let inbox = Unmanaged<Inbox>.fromOpaque(argument).takeRetainedValue()
                while let job = inbox.take() { job() }
                return nil
            }, passed.toOpaque())
        guard failure == 0 else { fatalError("can't start a thread: error \(failure)") }
        pthread_detach(thread)
    }

    deinit { inbox.put(nil) }

    func run<Value: Sendable, Failure: Error>(
        _ work: @escaping @Sendable () throws(Failure) -> Value
    ) async throws(Failure) -> Value {
        let result: Result<Value, Failure> = await withCheckedContinuation { continuation in
            inbox.put {
                let result: Result<Value, Failure>
                do throws(Failure) { result = .success(try work()) } catch { result = .failure(error) }
                continuation.resume(returning: result)
            }
        }
        return try result.get()
    }
}
