/// `config/metadata.toml` beside the layers: what the launcher has to know of the build.
struct LaunchMetadata: Sendable, Hashable {
    struct Buildpack: Sendable, Hashable {
        var id: String
        var version: String
        var api: BuildpackAPI
    }

    /// In the order in which they built.
    var buildpacks: [Buildpack] = []
    /// Sorted by type.
    var processes: [LaunchProcess] = []
    var defaultType: String?
    var labels: [LaunchFile.Label] = []
    var slices: [[String]] = []

    init() {}

    /// Adds what the next buildpack declares: its definitions take the place of earlier ones. A process that is defined anew
    /// and not as the default is no longer it.
    /// - Returns: a warning, for the build's output.
    mutating func add(_ file: LaunchFile) -> String? {
        var warning: String?
        for process in file.processes {
            if process.type == defaultType && file.defaultType != process.type {
                defaultType = nil
                warning =
                    "\(process.buildpack) defines the default process \(process.type) anew, but not as the default: there is none now."
            }
            processes.removeAll { $0.type == process.type }
            processes.append(process)
        }
        if let type = file.defaultType {
            defaultType = type
            warning = nil
        }
        processes.sort { $0.type < $1.type }
        for label in file.labels {
            labels.removeAll { $0.key == label.key }
            labels.append(label)
        }
        slices += file.slices
        return warning
    }

    init(_ root: TOMLSection) throws(TOMLFailure) {
        defaultType = try root.string("buildpack-default-process-type")
        for section in try root.sections("buildpacks") {
            let text = try section.requiredString("api")
            guard let api = BuildpackAPI(text) else { throw section.fail("api", "must be MAJOR.MINOR") }
            buildpacks.append(
                Buildpack(id: try section.requiredString("id"), version: try section.string("version") ?? "", api: api))
        }
        for section in try root.sections("processes") {
            let command = try section.strings("command")
            guard !command.isEmpty else { throw section.fail("command", "is missing") }
            processes.append(
                LaunchProcess(
                    type: try section.requiredString("type"), command: command,
                    arguments: try section.strings("args"), workingDirectory: try section.string("working-dir") ?? "",
                    executionEnvironments: try section.strings("exec-env"),
                    buildpack: try section.string("buildpack-id") ?? ""))
        }
        for section in try root.sections("labels") {
            labels.append(.init(key: try section.requiredString("key"), value: try section.string("value") ?? ""))
        }
        for section in try root.sections("slices") { slices.append(try section.strings("paths")) }
    }

    func encoded() -> [UInt8] {
        func list(_ texts: [String]) -> TOMLNode { .array(texts.map { .string($0) }) }
        var map = TOMLMap()
        if let defaultType { map["buildpack-default-process-type"] = .string(defaultType) }
        map["buildpacks"] = .array(
            buildpacks.map {
                .table([
                    "id": .string($0.id), "version": .string($0.version), "api": .string($0.api.description),
                ])
            })
        map["processes"] = .array(
            processes.map { process in
                var table: TOMLMap = [
                    "type": .string(process.type), "command": list(process.command), "args": list(process.arguments),
                    "direct": .boolean(true), "buildpack-id": .string(process.buildpack),
                    "exec-env": list(process.executionEnvironments.isEmpty ? ["*"] : process.executionEnvironments),
                ]
                if !process.workingDirectory.isEmpty { table["working-dir"] = .string(process.workingDirectory) }
                return .table(table)
            })
        map["labels"] = .array(labels.map { .table(["key": .string($0.key), "value": .string($0.value)]) })
        map["slices"] = .array(slices.map { .table(["paths": list($0)]) })
        return map.encoded()
    }
}
