import Glibc
import Lifecycle
import OS

exit(
    LifecycleProgram.run(
        arguments: Array(CommandLine.arguments.dropFirst()), environment: ProgramEnvironment.variables()))
