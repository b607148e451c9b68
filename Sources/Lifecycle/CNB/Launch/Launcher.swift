import Domain
import Glibc
import OS

/// Becomes a process of a slug that Cloud Native Buildpacks made: environment of the layers, `exec.d`, for shell commands
/// the profiles, then the program itself, in place of this one.
struct Launcher {
    /// Versions of the Platform API whose rules for launching these are.
    static let platformAPIs = (10...15).map { BuildpackAPI(0, $0) }

    /// Variables of the launcher's own, which a process does not get.
    static let ownVariables = [
        "CNB_LAYERS_DIR", "CNB_APP_DIR", "CNB_PROCESS_TYPE", "CNB_PLATFORM_API", "CNB_DEPRECATION_MODE",
    ]

    /// As given to this program.
    var variables: EnvironmentVariables
    /// `/layers`.
    var layers: String
    /// `/app`.
    var app: String

    init(variables: EnvironmentVariables) {
        self.variables = variables
        app = variables.text("CNB_APP_DIR") ?? "/app"
        // Buildpacks have /layers written into files; where an image lacks the link, the slug's own folder is the same.
        layers =
            variables.text("CNB_LAYERS_DIR")
            ?? (Files.exists("/layers/config/metadata.toml") ? "/layers" : "\(app)/\(CNBRun.slugLayers)")
    }

    /// Starts what `arguments` ask for. Returns only if that fails.
    func launch(_ arguments: [String]) -> LaunchFailure {
        do throws(LaunchFailure) {
            let metadata = try readMetadata()
            let command = try LaunchCommand(
                arguments, metadata, environment: variables.text("CNB_EXEC_ENV") ?? "production")
            try enter(app)
            let folders = try layerFolders(metadata)
            let process = try environment(of: folders, type: command.type)
            switch command {
            case .process(let definition, let given):
                let directory = definition.workingDirectory
                try enter(directory.isEmpty ? app : directory)
                let rest = given.isEmpty ? definition.arguments : given
                return execute(definition.command + rest, process)
            case .direct(let words): return execute(words, process)
            case .shell(let words):
                let script = try shellScript(folders, words: words.count)
                return replace("/bin/bash", ["bash", "-c", script, "launch"] + words, process)
            }
        } catch {
            return error
        }
    }

    private func readMetadata() throws(LaunchFailure) -> LaunchMetadata {
        if let asked = variables.text("CNB_PLATFORM_API") {
            guard let api = BuildpackAPI(asked), Self.platformAPIs.contains(api) else {
                throw LaunchFailure(
                    .platformAPI,
                    "CNB_PLATFORM_API is \(Names.quoted(asked)); this launcher keeps to 0.10 up to 0.15. Unset it.")
            }
        }
        let metadata: LaunchMetadata
        do throws(TOMLFailure) {
            let path = layers + "/config/metadata.toml"
            guard let root = try TOMLDocument.read(path, path) else {
                throw TOMLFailure(message: "\(path) is missing: Cloud Native Buildpacks did not build this slug")
            }
            metadata = try LaunchMetadata(root)
        } catch {
            throw LaunchFailure(.metadata, error.message)
        }
        if let foreign = metadata.buildpacks.first(where: { !$0.api.isSupported }) {
            throw LaunchFailure(
                .buildpackAPI,
                "the slug was built by \(foreign.id) for Buildpack API \(foreign.api), which this launcher does not know; build the app again"
            )
        }
        return metadata
    }

    /// Absolute paths of layers: for each buildpack in the order of the build, sorted by name.
    private func layerFolders(_ metadata: LaunchMetadata) throws(LaunchFailure) -> [[String]] {
        var out: [[String]] = []
        for buildpack in metadata.buildpacks {
            let folder = "\(layers)/\(BuildpackDescriptor.folderName(buildpack.id))"
            out.append(try entries(folder) { $0.isFolder }.map { "\(folder)/\($0)" })
        }
        return out
    }

    private func entries(_ folder: String, where wanted: (FileFacts) -> Bool) throws(LaunchFailure) -> [String] {
        do throws(SystemError) {
            guard FileFacts(following: folder)?.isFolder == true else { return [] }
            return try Files.list(folder).filter { FileFacts(following: "\(folder)/\($0)").map(wanted) ?? false }
        } catch {
            throw LaunchFailure(.environment, "the layer \(folder) can't be read: \(error)")
        }
    }

    /// Files below `name` of each layer, those of `type` after the common ones.
    private func files(_ name: String, _ folders: [[String]], type: String?) throws(LaunchFailure) -> [String] {
        var out: [String] = []
        for layer in folders.joined() {
            for folder in ["\(layer)/\(name)"] + (type.map { ["\(layer)/\(name)/\($0)"] } ?? []) {
                out += try entries(folder) { !$0.isFolder }.map { "\(folder)/\($0)" }
            }
        }
        return out
    }

    private func environment(of folders: [[String]], type: String?) throws(LaunchFailure) -> EnvironmentVariables {
        var base = variables
        for name in Self.ownVariables { base.remove(name) }
        // Where an image of the contract's own has its links to the launcher.
        if let path = base.text("PATH") {
            let kept = path.split(separator: ":", omittingEmptySubsequences: false)
                .filter { $0 != "/cnb/process" && $0 != "/cnb/lifecycle" }
            base.set("PATH", kept.joined(separator: ":"))
        }
        var layered = LayerEnvironment(variables: base, phase: .launch(type))
        do throws(SystemError) {
            for list in folders { try layered.add(layers: list) }
        } catch {
            throw LaunchFailure(.environment, "a layer's environment can't be read: \(error)")
        }
        var process = layered.variables
        // All layers' common programs come before those for one type only.
        for kind in type.map({ [nil, $0] }) ?? [nil] {
            for program in try execPrograms(folders, kind) {
                process.merge(try ExecD(program: program, environment: process, directory: app).run())
            }
        }
        return process
    }

    private func execPrograms(_ folders: [[String]], _ type: String?) throws(LaunchFailure) -> [String] {
        var out: [String] = []
        for layer in folders.joined() {
            let folder = "\(layer)/exec.d" + (type.map { "/\($0)" } ?? "")
            out += try entries(folder) { !$0.isFolder }.map { "\(folder)/\($0)" }
        }
        return out
    }

    /// Sources the profiles in one shell, which then becomes the command. `.profile.d` is no part of the contract of Cloud
    /// Native Buildpacks but of the platform's own for every slug.
    private func shellScript(_ folders: [[String]], words: Int) throws(LaunchFailure) -> String {
        var profiles = try files("profile.d", folders, type: nil)
        let own = app + "/.profile.d"
        profiles += try entries(own) { !$0.isFolder }.filter { $0.hasSuffix(".sh") }.map { "\(own)/\($0)" }
        if FileFacts(following: app + "/.profile")?.isFile == true { profiles.append(app + "/.profile") }
        var lines = profiles.map { "source \(Self.quoted($0))" }
        lines.append("cd \(Self.quoted(app)) || exit \(LaunchFailure.Code.directory.rawValue)")
        if words == 1 {
            // Replaces itself by a single command and keeps the meaning of a list.
            lines.append("exec /bin/bash -c \"$1\"")
        } else {
            // Each word is expanded as in double quotes and stays one word.
            lines.append("PAAS__words=()")
            lines.append(
                "for PAAS__word; do eval \"PAAS__word=\\\"$PAAS__word\\\"\"; PAAS__words+=(\"$PAAS__word\"); done")
            lines.append("exec \"${PAAS__words[@]}\"")
        }
        return lines.joined(separator: "\n")
    }

    /// For a shell, in single quotes.
    static func quoted(_ text: String) -> String {
        "'" + text.split(separator: "'", omittingEmptySubsequences: false).joined(separator: "'\\''") + "'"
    }

    private func enter(_ directory: String) throws(LaunchFailure) {
        guard chdir(directory) == 0 else {
            throw LaunchFailure(
                .directory, "the folder \(directory) can't be entered: \(String(cString: strerror(errno)))")
        }
    }

    private func execute(_ words: [String], _ process: EnvironmentVariables) -> LaunchFailure {
        guard let program = words.first, let path = Self.find(program, in: process.text("PATH") ?? "") else {
            return LaunchFailure(
                .notFound,
                "\(Names.quoted(words.first ?? "")) is not in PATH (\(process.text("PATH") ?? "not set")), or is no program"
            )
        }
        return replace(path, words, process)
    }

    /// Path of a program: as it is if it has a slash, else the first in `list` that may be run. Entries that are no
    /// absolute path would depend on where a process happens to be, so they are passed over.
    static func find(_ program: String, in list: String) -> String? {
        func isProgram(_ path: String) -> Bool {
            FileFacts(following: path)?.isFile == true && access(path, X_OK) == 0
        }
        if program.contains("/") { return isProgram(program) ? program : nil }
        guard !program.isEmpty else { return nil }
        return list.split(separator: ":").filter { $0.hasPrefix("/") }.map { "\($0)/\(program)" }.first(
            where: isProgram)
    }

    /// Replaces this program. Returns only if that fails.
    private func replace(_ path: String, _ words: [String], _ process: EnvironmentVariables) -> LaunchFailure {
        // Never freed: the memory goes with the program.
        let argv: [UnsafeMutablePointer<CChar>?] = words.map { strdup($0) } + [nil]
        let envp: [UnsafeMutablePointer<CChar>?] =
            process.block.map { entry in strdup(entry.map { CChar(bitPattern: $0) } + [0]) } + [nil]
        execve(path, argv, envp)
        return LaunchFailure(.exec, "\(path) can't be started: \(String(cString: strerror(errno)))")
    }
}
