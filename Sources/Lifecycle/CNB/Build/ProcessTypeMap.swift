import Domain

/// The platform's process types of what buildpacks declared.
///
/// The contract allows names that the platform doesn't, so those are left out, and said. The contract's default process is
/// what an image starts without being told; here that is `web`, the type that gets a port and is started first. So if nothing
/// declares `web`, the default process is offered as `web` too.
struct ProcessTypeMap: Sendable, Hashable {
    /// Path of this program in containers.
    static let launcher = "/paas/lifecycle launch"

    /// Platform's type to command.
    var commands: [String: String] = [:]
    /// For the build's output.
    var notes: [String] = []

    /// - Parameter environment: the execution environment; processes for others can't be started and are left out.
    init(_ metadata: LaunchMetadata, environment: String) {
        let processes = metadata.processes.filter {
            BuildpackDescriptor.matches($0.executionEnvironments, environment)
        }
        for process in processes {
            do throws(PaaSError) {
                try Names.validateShort(process.type, "process type")
                commands[process.type] = "\(Self.launcher) \(process.type)"
            } catch {
                notes.append("The buildpack \(process.buildpack) declares a type that is left out: \(error.message)")
            }
        }
        // A word that begins with - would be an option of the launcher's.
        guard let type = metadata.defaultType, commands["web"] == nil, !type.hasPrefix("-"),
            processes.contains(where: { $0.type == type })
        else { return }
        commands["web"] = "\(Self.launcher) \(type)"
        notes.append("The default process \(type) is offered as \"web\" too, which gets the app's port.")
    }

    /// As classic buildpacks print it from `bin/release`. Types are plain words, so nothing needs quotes but the command.
    var releaseFile: [UInt8] {
        guard !commands.isEmpty else { return Array("--- {}\n".utf8) }
        let lines = commands.sorted { $0.key < $1.key }.map { "  \($0.key): \"\($0.value)\"" }
        return Array((["---", "default_process_types:"] + lines).joined(separator: "\n").utf8) + [10]
    }
}
