import Glibc

/// Runs `body` on a thread of its own, for calls that block.
enum DedicatedThread {
    private final class Body {
        let run: @Sendable () -> Void
        init(_ run: @escaping @Sendable () -> Void) { self.run = run }
    }

    /// - Throws: `connection` if the system has no thread left.
    static func start(_ body: @escaping @Sendable () -> Void) throws(PostgresError) {
        var thread = pthread_t()
        let context = Unmanaged.passRetained(Body(body))
        let code = pthread_create(
            &thread, nil,
            { raw in
                if let raw { Unmanaged<Body>.fromOpaque(raw).takeRetainedValue().run() }
                return nil
            }, context.toOpaque())
        guard code == 0 else {
            context.release()
            throw PostgresError(.connection, "can't start a thread (error \(code))")
        }
        pthread_detach(thread)
    }
}

/// A counting semaphore that threads wait on.
final class ThreadSemaphore: Sendable {
    // SAFETY: the pointer is set once and sem_t is made for use from several threads.
    private nonisolated(unsafe) let semaphore: UnsafeMutablePointer<sem_t>

    init() {
        semaphore = .allocate(capacity: 1)
        sem_init(semaphore, 0, 0)
    }

    deinit {
        sem_destroy(semaphore)
        semaphore.deallocate()
    }

    func signal() { sem_post(semaphore) }
    func wait() { while sem_wait(semaphore) != 0 && errno == EINTR {} }
}

/// A descriptor that wakes a thread from `poll`, and stays readable from then on.
final class WakeDescriptor: Sendable {
    /// Becomes readable with `wake`.
    let descriptor: Int32
    private let writer: Int32

    init() throws(PostgresError) {
        var pair: [Int32] = [-1, -1]
        let type = Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue | SOCK_NONBLOCK.rawValue)
        guard socketpair(AF_UNIX, type, 0, &pair) == 0 else {
            throw PostgresError(.connection, "can't make a socket pair (errno \(errno))")
        }
        descriptor = pair[0]
        writer = pair[1]
    }

    deinit {
        close(descriptor)
        close(writer)
    }

    func wake() {
        var one: UInt8 = 1
        // Fails only when the buffer is full, and then the thread is awake anyway.
        _ = send(writer, &one, 1, Int32(MSG_NOSIGNAL))
    }

    /// Waits without a connection, for a pause between two tries.
    func pause(milliseconds: Int32) {
        var entry = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
        _ = poll(&entry, 1, milliseconds)
    }
}
