import Domain
import Git
import Glibc
import Logging
import OS
import Telemetry

// paas-git: the only program that touches repositories. Called by its hook name it is the hook.
Signals.ignoreBrokenPipes()
let invokedAs = CommandLine.arguments.first.map { $0.split(separator: "/").last.map(String.init) ?? $0 } ?? "paas-git"
let environment = ProgramEnvironment.variables()

if invokedAs == "proc-receive" { exit(ProcReceiveHook.run(environment: environment)) }

switch CommandLine.arguments.dropFirst().first ?? "serve" {
case "work":
    guard CommandLine.arguments.count == 3 else { exit(2) }
    exit(GitWorker.run(repositories: CommandLine.arguments[2]))
case "ssh-key":
    // AuthorizedKeysCommand of sshd.
    guard CommandLine.arguments.count == 5 else { exit(2) }
    exit(
        SSHKeyLookup.run(
            socket: CommandLine.arguments[2], type: CommandLine.arguments[3], base64: CommandLine.arguments[4]))
case "ssh-session":
    // What a key is let in to.
    guard CommandLine.arguments.count == 4 else { exit(2) }
    exit(
        SSHSession.run(
            socket: CommandLine.arguments[2], key: CommandLine.arguments[3],
            command: environment["SSH_ORIGINAL_COMMAND"]))
case "serve":
    let log = PlatformLog.start(program: "paas-git")
    do {
        let settings = try Settings.load()
        guard let paas = ProcessSpec.User.named("paas") else {
            log.critical("the user paas does not exist; run bin/up as root, which makes it")
            exit(1)
        }
        let program = try ProgramEnvironment.executablePath()
        Signals.onTermination { _ in exit(0) }
        try GitServer(settings: settings, program: program, clientUser: paas.uid) { log.info("\($0)") }.run()
    } catch {
        log.critical("\(ErrorChain(error))")
        exit(1)
    }
default:
    print("usage: paas-git [serve]")
    exit(2)
}
