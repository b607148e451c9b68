import Containers
import Domain
import FoundationEssentials
import Glibc
import Logging
import OS

/// The command line of paas-engine.
enum EngineProgram {
    static let usage = """
        usage: paas-engine [serve]
               paas-engine teardown [--power-cut]   end every container of this platform and clear the host, while no
                                                    engine runs; --power-cut is for tests: nothing gets to end itself
               paas-engine build-stack NAME [--if-missing]
                                                    make a stack from its definition; --if-missing: unless it is there
                                                    and its definition is the same
               paas-engine list [--json]            the containers of this platform, also while no engine runs
               paas-engine doctor [--json]          look at what containers need of this host

        Settings: environment PAAS_… over the file that PAAS_ENV_FILE names (/etc/paas/paas.env).

        """
    /// Whose the socket is, unless `PAAS_USER` names another. `PAAS_GIT_USER` does the same for the user that checks out.
    static let defaultUser = "paas"
    static let teardownGraceSeconds = 10.0

    /// The exit status: 0 done, 1 failed, 2 wrong usage.
    static func run(arguments: [String]) -> Int32 {
        // The packer of slugs is this program again, as the app's own user.
        if arguments.first == "pack-slug" { return SlugPackerCommand.run(arguments: Array(arguments.dropFirst())) }
        do {
            switch arguments {
            case [], ["serve"]: return try serve(try settings())
            case ["teardown"]: return try teardown(try settings(), .graceful(seconds: teardownGraceSeconds))
            case ["teardown", "--power-cut"]: return try teardown(try settings(), .powerCut)
            case ["list"]: return try list(try settings(), json: false)
            case ["list", "--json"]: return try list(try settings(), json: true)
            case _ where arguments.count == 2 && arguments[0] == "build-stack":
                try requireRoot()
                return try StackCommand.run(name: arguments[1], ifMissing: false, settings: try settings())
            case _ where arguments.count == 3 && arguments[0] == "build-stack" && arguments[2] == "--if-missing":
                try requireRoot()
                return try StackCommand.run(name: arguments[1], ifMissing: true, settings: try settings())
            case ["doctor"]: return try doctor(try settings(), json: false)
            case ["doctor", "--json"]: return try doctor(try settings(), json: true)
            case ["--help"], ["help"]:
                print(usage, terminator: "")
                return 0
            default:
                report(usage)
                return 2
            }
        } catch {
            report("paas-engine: \(ErrorChain(error))\n")
            return 1
        }
    }

    private static func report(_ text: String) {
        let bytes = Array(text.utf8)
        _ = write(STDERR_FILENO, bytes, bytes.count)
    }

    private static func settings() throws(PaaSError) -> Settings { try Settings.load() }

    private static func requireRoot() throws(PaaSError) {
        guard geteuid() == 0 else { throw PaaSError(.forbidden, "paas-engine has to run as root") }
    }

    private static func serve(_ settings: Settings) throws -> Int32 {
        try requireRoot()
        // Containers outlive us: an end is just an end, at whatever line.
        Signals.onTermination { _ in _exit(0) }
        let logger = Logger(label: "paas-engine")
        let lock = try EngineLock.take(settings)
        defer { lock.release() }
        let name = getenv("PAAS_USER").map { String(cString: $0) } ?? defaultUser
        guard let user = ProcessSpec.User.named(name) else {
            throw PaaSError(.unavailable, "the user \(name) is missing; bin/up makes it, or: useradd --system \(name)")
        }
        let checkoutUser = getenv("PAAS_GIT_USER").map { String(cString: $0) } ?? "paas-git"
        let images = ImageService(settings: settings, logger: logger, checkoutUser: checkoutUser, uploadUser: name)
        let network = try NetworkService(settings: settings, logger: logger)
        let logs = LogStore(
            root: settings.dataDirectory + "/logs", budgetBytes: settings.logBudgetBytes, logger: logger)
        try images.start()
        let containers = try ContainerService(
            settings: settings, logger: logger, network: network, images: images, logs: logs)
        try containers.start()
        let server = try EngineServer(
            settings: settings, logger: logger, containers: containers, builds: images, logs: logs, user: user)
        try server.serve()
        return 0
    }

    private static func teardown(_ settings: Settings, _ mode: EngineTeardown.Mode) throws -> Int32 {
        try requireRoot()
        let logger = Logger(label: "paas-engine")
        try EngineTeardown(settings: settings, logger: logger).run(
            mode,
            network: { try NetworkService(settings: settings, logger: logger).teardown() },
            images: { try ImageService(settings: settings, logger: logger).teardown() })
        return 0
    }

    private static func list(_ settings: Settings, json: Bool) throws -> Int32 {
        try requireRoot()
        let containers = try ContainerListing.read(settings: settings)
        if json {
            print(String(decoding: try JSONEncoder().encode(containers), as: UTF8.self))
        } else {
            for one in containers {
                print(
                    "\(one.id) \(one.name) \(one.state.rawValue) \(one.pid.map(String.init) ?? "-") \(one.address4 ?? "-")"
                )
            }
        }
        return 0
    }

    private static func doctor(_ settings: Settings, json: Bool) throws -> Int32 {
        try requireRoot()
        let findings = HostDoctor.examine(settings: settings)
        if json {
            print(String(decoding: try JSONEncoder().encode(findings), as: UTF8.self))
        } else {
            for finding in findings {
                print("\(finding.ok ? "ok  " : "FAIL") \(finding.name): \(finding.detail)")
                if let fix = finding.fix { print("     \(fix)") }
            }
        }
        return findings.allSatisfy(\.ok) ? 0 : 1
    }
}
