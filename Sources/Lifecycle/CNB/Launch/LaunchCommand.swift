import Domain

/// What the launcher is asked to start.
enum LaunchCommand: Sendable, Hashable {
    /// Words for the option that says: what follows is a command for the shell, even if it reads like a type.
    static let shellOption = "--shell"

    /// A process of the slug.
    case process(LaunchProcess, arguments: [String])
    /// A program, without a shell.
    case direct([String])
    /// A command line for bash; with further words: a command whose words bash expands.
    case shell([String])

    /// - Parameter arguments: behind the word `launch`: `TYPE [ARG…]`, `-- PROGRAM [ARG…]`, `--shell COMMAND`, or
    ///   `COMMAND [ARG…]` if that is no type.
    init(_ arguments: [String], _ metadata: LaunchMetadata, environment: String) throws(LaunchFailure) {
        guard let first = arguments.first else {
            throw LaunchFailure(
                .noProcess, "nothing to start: give a process type (\(Self.types(metadata, environment))) or a command")
        }
        let rest = Array(arguments.dropFirst())
        if first == "--" || first == Self.shellOption {
            guard !rest.isEmpty else { throw LaunchFailure(.noProcess, "nothing to start: \(first) wants a command") }
            self = first == "--" ? .direct(rest) : .shell(rest)
            return
        }
        let named = metadata.processes.filter { $0.type == first }
        if let process = named.first(where: { BuildpackDescriptor.matches($0.executionEnvironments, environment) }) {
            self = .process(process, arguments: rest)
        } else if !named.isEmpty {
            throw LaunchFailure(
                .noProcess,
                "the process \(first) is not for the execution environment \(environment) (CNB_EXEC_ENV); there are: \(Self.types(metadata, environment))"
            )
        } else {
            self = .shell(arguments)
        }
    }

    /// For the folders of a layer that are for one type only; nil for commands.
    var type: String? { if case .process(let process, _) = self { process.type } else { nil } }

    private static func types(_ metadata: LaunchMetadata, _ environment: String) -> String {
        let types = metadata.processes.filter { BuildpackDescriptor.matches($0.executionEnvironments, environment) }
        return types.isEmpty ? "the slug has none" : types.map(\.type).joined(separator: ", ")
    }
}
