import Domain
import Glibc
import Logging
import OS
import Telemetry

Signals.ignoreBrokenPipes()
let logger = PlatformLog.start(program: "paasd")
Signals.onTermination { _ in
    // Nothing to save: every step is durable before the next one begins, and the next start goes on from there.
    exit(0)
}
do {
    let settings = try Settings.load()
    try await Paasd(settings: settings, logger: logger).run()
    logger.critical("paasd ends: a part of it stopped without a reason")
} catch {
    logger.critical("paasd ends", metadata: ["error": "\(ErrorChain(error))"])
}
exit(1)
