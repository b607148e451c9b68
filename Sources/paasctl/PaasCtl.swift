import ArgumentParser
import Domain
import Glibc

/// The command line of the platform. Talks to its REST API only.
struct PaasCtl: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "paasctl",
        abstract: "Deploy, scale and look after network functions.",
        discussion: """
            Data goes to standard output, messages to standard error. Exit code: 0 done, 1 refused or failed, 2 wrong usage.
            """,
        subcommands: [
            Login.self, WhoAmI.self, Logout.self, Apps.self, Git.self, GitCredential.self, Keys.self, Scale.self,
            Processes.self, Config.self, Ports.self, Builds.self, Buildpacks.self, Slugs.self, Releases.self,
            Rollback.self, Promote.self,
            Logs.self, Spaces.self, Tokens.self,
            Events.self, Operations.self, Nodes.self, Stacks.self, Doctor.self, Status.self,
        ])
}

@main
enum Main {
    static func main() async {
        // A reader that leaves (`paasctl logs | head`) shows as EPIPE, which ends the program quietly.
        signal(SIGPIPE, SIG_IGN)
        InterruptNote.install()
        if let number = unreadableArgument(Int(CommandLine.argc), CommandLine.unsafeArgv) {
            Console.note(
                "paasctl: argument \(number) is not UTF-8; for a config value of any bytes use config set KEY --stdin or --file"
            )
            exit(2)
        }
        do {
            var command = try PaasCtl.parseAsRoot()
            if var asynchronous = command as? any AsyncParsableCommand {
                try await asynchronous.run()
            } else {
                try command.run()
            }
            exit(0)
        } catch {
            exit(report(error))
        }
    }

    /// Number of the first argument that Swift would show us repaired, and not as it was given.
    static func unreadableArgument(_ count: Int, _ arguments: UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>)
        -> Int?
    {
        (0..<count).first { index in arguments[index].map { String(validatingCString: $0) == nil } ?? false }
    }

    /// Says what went wrong. Returns the exit code: the one place where errors get one.
    private static func report(_ error: any Error) -> Int32 {
        switch error {
        case let failure as Failure:
            Console.note("paasctl: \(failure.message)")
            return 1
        case let lost as ConnectionLost:
            Console.note("paasctl: \(lost.reason)")
            return 1
        case let known as PaaSError:
            Console.note("paasctl: \(known.message)")
            return 1
        default: break
        }
        let code = PaasCtl.exitCode(for: error)
        let message = PaasCtl.fullMessage(for: error)
        if code.isSuccess {
            Console.print(message)
            return 0
        }
        Console.note(message)
        return code == .validationFailure ? 2 : 1
    }
}
