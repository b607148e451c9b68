import Containers
import Domain
import Glibc
import Logging

/// `paas-engine build-stack NAME [--if-missing]`: makes a stack from its definition, with a line for each step.
enum StackCommand {
    static func run(name: String, ifMissing: Bool, settings: Settings) throws -> Int32 {
        let images = ImageService(settings: settings, logger: Logger(label: "paas-engine"))
        if ifMissing, try images.listStacks().contains(where: { $0.name == name && $0.state == .ready }) { return 0 }
        try images.buildStack(name) { line in
            let bytes = Array("       \(line)\n".utf8)
            _ = write(STDOUT_FILENO, bytes, bytes.count)
        }
        return 0
    }
}
