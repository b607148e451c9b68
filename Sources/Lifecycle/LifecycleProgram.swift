import Domain
import Glibc
import OS

/// `paas-lifecycle`, which runs inside containers as the app's own user: `build` is the main process of a build container,
/// `launch` starts a process of a slug that Cloud Native Buildpacks made.
public enum LifecycleProgram {
    /// - Returns: the exit code.
    public static func run(arguments: [String], environment: [String: String]) -> Int32 {
        switch arguments.first {
        case "build" where arguments.count == 1: return BuildDriver.run(environment: environment)
        case "launch": return launch(Array(arguments.dropFirst()))
        default:
            print(
                "usage: paas-lifecycle build | launch TYPE [ARG…] | launch -- PROGRAM [ARG…] | launch --shell COMMAND")
            return 2
        }
    }

    /// Becomes the process that is asked for; returns only if that fails.
    private static func launch(_ arguments: [String]) -> Int32 {
        let failure = Launcher(variables: .own()).launch(arguments)
        let line = Array("launch: \(failure.message)\n".utf8)
        _ = write(STDERR_FILENO, line, line.count)
        return failure.code.rawValue
    }
}
