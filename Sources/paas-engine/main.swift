import Containers
import Domain
import Glibc
import Logging
import OS

Signals.ignoreBrokenPipes()
LoggingSystem.bootstrap(StreamLogHandler.standardError)
exit(EngineProgram.run(arguments: Array(CommandLine.arguments.dropFirst())))
