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

    /// - Parameter output: a descriptor for standard output and standard error.
    /// - Returns: its exit status; 128 + signal for a death by signal.
    func run(output: Int32) throws(SystemError) -> Int32 {
        makeExecutable()
        var spec = ProcessSpec(program, arguments)
        spec.rawEnvironment = environment.block
        spec.directory = directory
        // Descriptors of the child are copies, so the same one can be both.
        let child = try Self.start(spec, descriptors: [nil, output, output])
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
    /// - Returns: its exit status and the beginning of what it printed.
    func runCaptured(file: String) throws(SystemError) -> (status: Int32, output: String) {
        let target = try OwnedFD.open(file, O_RDWR | O_CREAT | O_TRUNC | O_NOFOLLOW, mode: 0o600)
        let status = try run(output: target.raw)
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
