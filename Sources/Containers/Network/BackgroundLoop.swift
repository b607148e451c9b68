import Domain
import Glibc
import OS
import Synchronization

/// A thread that does something whenever it is woken, and at the time that it named itself.
final class BackgroundLoop: Sendable {
    private enum State { case idle, running, stopping, stopped }

    private let pipe: Pipe
    private let state = Mutex(State.idle)

    init() throws(PaaSError) {
        do throws(SystemError) {
            pipe = try Pipe()
            for raw in [pipe.readEnd.raw, pipe.writeEnd.raw] {
                try Syscall.check("fcntl") { fcntl(raw, F_SETFL, O_NONBLOCK) }
            }
        } catch {
            throw error.asPaaSError("a pipe could not be made")
        }
    }

    /// - Parameter step: does what is due and returns in how many seconds it wants to be called again; nil ends the loop.
    func start(_ name: String, step: @escaping @Sendable () -> Double?) {
        let go = state.withLock { state in
            guard state == .idle else { return false }
            state = .running
            return true
        }
        guard go else { return }
        Thread.start(name) { [self] in
            while state.withLock({ $0 == .running }) {
                guard let seconds = step() else { break }
                wait(seconds)
            }
            state.withLock { $0 = .stopped }
        }
    }

    var isRunning: Bool { state.withLock { $0 == .running } }

    func wake() {
        // A full pipe wakes as well as one more byte in it.
        _ = write(pipe.writeEnd.raw, [0], 1)
    }

    /// Asks the loop to end after its present step.
    func stop() {
        state.withLock { if $0 == .running { $0 = .stopping } else if $0 == .idle { $0 = .stopped } }
        wake()
    }

    /// Ends the loop and waits until its last step is done. Not to be called from the loop itself.
    func stopAndWait() {
        stop()
        while state.withLock({ $0 != .stopped }) { usleep(5000) }
    }

    private func wait(_ seconds: Double) {
        var poll = pollfd(fd: pipe.readEnd.raw, events: Int16(POLLIN), revents: 0)
        let milliseconds = Int32(min(max(seconds, 0), 3600) * 1000) + 1
        if Glibc.poll(&poll, 1, milliseconds) > 0 {
            var buffer = [UInt8](repeating: 0, count: 512)
            while read(pipe.readEnd.raw, &buffer, buffer.count) > 0 {}
        }
    }
}
