import Containers
import Domain
import Glibc
import Logging

/// `paas-engine build-stack NAME [--if-missing]`: makes a stack from its definition, with a line for each step.
enum StackCommand {
    /// - Parameter ifMissing: nothing is done if the stack is there, made from its definition as it is now. If it is there from
    ///   another definition and can't be made anew (as without a network), it stays in use and a warning says so.
    static func run(name: String, ifMissing: Bool, settings: Settings) throws -> Int32 {
        let images = ImageService(settings: settings, logger: Logger(label: "paas-engine"))
        let isThere = try images.listStacks().contains { $0.name == name && $0.state == .ready }
        if ifMissing, isThere {
            if try images.isStackUpToDate(name) { return 0 }
            say(STDOUT_FILENO, "       its definition has changed")
        }
        do {
            try images.buildStack(name) { line in say(STDOUT_FILENO, "       \(line)") }
        } catch {
            guard ifMissing, isThere else { throw error }
            say(
                STDERR_FILENO,
                " !     the stack \(name) could not be made anew and stays as it was: \(ErrorChain(error))\n !     once that is mended: bin/up again"
            )
        }
        return 0
    }

    private static func say(_ descriptor: Int32, _ line: String) {
        let bytes = Array("\(line)\n".utf8)
        _ = write(descriptor, bytes, bytes.count)
    }
}
