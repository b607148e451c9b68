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
        default:
            print("usage: paas-lifecycle build | launch TYPE | launch -- COMMAND")
            return 2
        }
    }
}
