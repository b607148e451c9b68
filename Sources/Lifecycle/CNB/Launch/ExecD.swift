import Domain
import Glibc
import OS

/// Runs a program of a layer's `exec.d`, which may write environment variables as TOML to descriptor 3.
struct ExecD {
    /// Absolute path.
    var program: String
    var environment: EnvironmentVariables
    /// The app's folder.
    var directory: String

    /// - Returns: the variables that it wrote.
    func run() throws(LaunchFailure) -> [String: String] {
        let written: [UInt8]
        let status: Int32
        do throws(SystemError) {
            (written, status) = try start()
        } catch {
            throw LaunchFailure(.execD, "\(program) can't be run: \(error)")
        }
        guard status == 0 else { throw LaunchFailure(.execD, "\(program) ended with exit code \(status)") }
        do throws(TOMLFailure) {
            let root = try TOMLDocument.parse(written, "what \(program) wrote to descriptor 3")
            var variables: [String: String] = [:]
            for name in root.map.keys {
                guard EnvironmentVariables.isName(name) else { throw root.fail(name, "is no name of a variable") }
                variables[name] = try root.string(name)
            }
            return variables
        } catch {
            throw LaunchFailure(.execD, error.message)
        }
    }

    private func start() throws(SystemError) -> ([UInt8], Int32) {
        let pipe = try Pipe()
        let source = try pipe.readEnd.duplicate()
        var spec = ProcessSpec(program, [])
        spec.rawEnvironment = environment.block
        spec.directory = directory
        let child = try BuildpackRun.start(spec, descriptors: [nil, 1, 2, pipe.writeEnd.raw])
        _ = consume pipe
        var written: [UInt8] = []
        do throws(SystemError) {
            // Until it ends, and not until the pipe does: a process that it leaves behind may hold that open.
            var ended = false
            while !ended {
                var polls = [
                    pollfd(fd: source.raw, events: Int16(POLLIN), revents: 0),
                    pollfd(fd: child.pidfd.raw, events: Int16(POLLIN), revents: 0),
                ]
                try Syscall.check("poll") { poll(&polls, 2, -1) }
                // What is in the pipe comes first, so that nothing is lost of a program that has ended.
                if polls[0].revents & Int16(POLLIN) != 0 {
                    written += try source.read(upTo: 65_536)
                    // One byte too many makes the parser refuse it with its limit.
                    if written.count > TOMLDocument.maximumBytes {
                        try child.signal(SIGKILL)
                        break
                    }
                } else if polls[1].revents != 0 {
                    ended = true
                } else if polls[0].revents != 0 {
                    // Its end is closed; only the program's own end is left to wait for.
                    break
                }
            }
        } catch {
            throw child.abandon(error)
        }
        if written.count > TOMLDocument.maximumBytes {
            _ = try child.wait()
            return (written, 0)
        }
        return (written, try child.wait())
    }
}
