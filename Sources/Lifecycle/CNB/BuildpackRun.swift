import Glibc
import OS

/// Runs one program of a buildpack and waits for it.
struct BuildpackRun {
    /// Most that is kept of what a detect prints, in bytes.
    static let maximumOutput = 64 << 10

    /// Absolute path.
    var program: String
    var arguments: [String]
    var environment: EnvironmentVariables
    /// The app's folder.
    var directory: String

    /// - Parameters:
    ///   - output: a descriptor for standard output and standard error.
    ///   - timeoutSeconds: after this time it is ended, with all that is still in its process group. Nil: as long as it takes.
    /// - Returns: its exit status; 128 + signal for a death by signal. Nil if it took too long.
    func run(output: Int32, timeoutSeconds: Double? = nil) throws(SystemError) -> Int32? {
        makeExecutable()
        var spec = ProcessSpec(program, arguments)
        spec.rawEnvironment = environment.block
        spec.directory = directory
        // A program that signals its process group must not reach the driver.
        spec.newSession = true
        spec.umask = 0o022
        // Descriptors of the child are copies, so the same one can be both.
        let child = try Self.start(spec, descriptors: [nil, output, output])
        guard let timeoutSeconds else { return try child.wait() }
        let deadline = Monotonic.now() + timeoutSeconds
        var ready = pollfd(fd: child.pidfd.raw, events: Int16(POLLIN), revents: 0)
        repeat {
            let left = deadline - Monotonic.now()
            guard left > 0 else {
                // Its session's leader, so its group has its number.
                kill(-child.pid, SIGKILL)
                _ = try child.wait()
                return nil
            }
            let wait = Int32(min(left * 1000, 60_000)) + 1
            try Syscall.check("poll") { poll(&ready, 1, wait) }
        } while ready.revents == 0
        return try child.wait()
    }

    /// Starts a program that may have been written a moment ago: a child that another thread is just starting can still hold
    /// the writer's descriptor, and the kernel runs no file that is open for writing.
    static func start(_ spec: ProcessSpec, descriptors: [Int32?]) throws(SystemError) -> ChildProcess {
        for _ in 0..<100 {
            do throws(SystemError) {
                return try ChildProcess.spawn(spec, descriptors: descriptors)
            } catch  where error.errno == ETXTBSY {
                usleep(20_000)
            }
        }
        return try ChildProcess.spawn(spec, descriptors: descriptors)
    }

    /// - Parameter file: a path for what it prints. A file and not a pipe: a process that it leaves behind would hold a pipe
    ///   open for ever.
    /// - Returns: its exit status, nil if it took too long, and the beginning of what it printed.
    func runCaptured(file: String, timeoutSeconds: Double) throws(SystemError) -> (status: Int32?, output: String) {
        let target = try OwnedFD.open(file, O_RDWR | O_CREAT | O_TRUNC | O_NOFOLLOW, mode: 0o600)
        let status = try run(output: target.raw, timeoutSeconds: timeoutSeconds)
        let source = try OwnedFD.open(file, O_RDONLY | O_NOFOLLOW)
        return (status, String(decoding: try source.readFully(Self.maximumOutput), as: UTF8.self))
    }

    /// A repository often comes without its modes.
    private func makeExecutable() {
        guard let facts = FileFacts(program), facts.isFile, !facts.isExecutable else { return }
        // If it is not ours to change, starting it fails with a message that says so.
        _ = chmod(program, facts.mode & 0o7777 | 0o111)
    }
}
