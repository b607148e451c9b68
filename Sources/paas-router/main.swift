import Domain
import Glibc
import Logging
import OS
import Router

Signals.ignoreBrokenPipes()

/// Says it on standard error and ends.
func fail(_ message: String, status: Int32) -> Never {
    let line = Array("paas-router: \(message)\n".utf8)
    _ = write(STDERR_FILENO, line, line.count)
    exit(status)
}

let arguments = CommandLine.arguments.dropFirst()
guard arguments.isEmpty || Array(arguments) == ["serve"] else {
    fail(
        "usage: paas-router [serve]; settings come from PAAS_… in the environment and from /etc/paas/paas.env",
        status: 64)
}

do {
    let settings = try Settings.load()
    let bootID = try Host.bootID(file: settings.bootIDFile)
    LoggingSystem.bootstrap { StreamLogHandler.standardError(label: $0) }
    let logger = Logger(label: "paas-router")
    let router = try RouterServer(RouterConfiguration(settings: settings, bootID: bootID), logger: logger)
    // Before any other thread starts: they inherit which signals are blocked.
    Signals.onTermination { number in
        logger.info("stopping", metadata: ["signal": "\(number)"])
        router.stop()
    }
    router.start()
    router.wait()
} catch let error as PaaSError {
    fail(error.message, status: 78)
} catch {
    fail("\(error)", status: 71)
}
