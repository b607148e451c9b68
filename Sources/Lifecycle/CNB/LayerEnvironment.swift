import Domain
import OS

/// Applies what layers say about environment variables: their folders for the path lists, then their files.
struct LayerEnvironment: Sendable {
    enum Phase: Sendable, Hashable {
        /// For the buildpacks that come later.
        case build
        /// For a process of this type; nil for a command that is of none.
        case launch(String?)
    }

    /// Of one file; a value is not so long, and a buildpack's slip should say so.
    static let maximumFileBytes = 1 << 20

    /// Folders of a layer and the lists that get them, at build. At launch only those of programs and shared libraries.
    static let buildLists: [(folder: String, variables: [String])] = [
        ("bin", ["PATH"]), ("lib", ["LD_LIBRARY_PATH", "LIBRARY_PATH"]), ("include", ["CPATH"]),
        ("pkgconfig", ["PKG_CONFIG_PATH"]),
    ]
    static let launchLists: [(folder: String, variables: [String])] = [
        ("bin", ["PATH"]), ("lib", ["LD_LIBRARY_PATH"]),
    ]
    /// Variables to whose end a layer's folders go behind the user's own.
    static let pathLists = Set(buildLists.flatMap(\.variables))

    var variables: EnvironmentVariables
    var phase: Phase

    /// Adds the layers of one buildpack, which come before those of the buildpacks added earlier.
    /// - Parameter layers: absolute paths, sorted by name.
    /// - Throws: a file that can't be read.
    mutating func add(layers: [String]) throws(SystemError) {
        for (folder, names) in phase == .build ? Self.buildLists : Self.launchLists {
            let folders = layers.map { "\($0)/\(folder)" }.filter { Files.exists($0) }
            guard !folders.isEmpty else { continue }
            for name in names {
                let old = variables[name]
                variables[name] = Array(folders.joined(separator: ":").utf8) + (old.isEmpty ? [] : [58] + old)
            }
        }
        for layer in layers {
            let folders: [String]
            switch phase {
            case .build: folders = ["env", "env.build"]
            case .launch(let type): folders = ["env", "env.launch"] + (type.map { ["env.launch/\($0)"] } ?? [])
            }
            let files = try folders.map { name throws(SystemError) in try Self.files("\(layer)/\(name)") }
            for (index, own) in files.enumerated() {
                // A delimiter goes for the whole layer; the one beside the file comes first.
                let delimiters = [own] + files[..<index].reversed() + files[(index + 1)...]
                for file in own { apply(file, delimiters) }
            }
        }
    }

    private struct File {
        var name: String
        var suffix: String
        var content: [UInt8]
    }

    private static func files(_ folder: String) throws(SystemError) -> [File] {
        var files: [File] = []
        guard isFolder(folder) else { return [] }
        for name in try Files.list(folder) where !isFolder("\(folder)/\(name)") {
            guard let content = try Files.read("\(folder)/\(name)", limit: maximumFileBytes) else { continue }
            let base = name.prefix(while: { $0 != "." })
            files.append(File(name: String(base), suffix: String(name.dropFirst(base.count)), content: content))
        }
        return files
    }

    private static func isFolder(_ path: String) -> Bool { FileFacts(following: path)?.isFolder == true }

    private mutating func apply(_ file: File, _ delimiters: [[File]]) {
        guard !file.name.isEmpty, !file.name.contains("=") else { return }
        let old = variables[file.name]
        func delimiter() -> [UInt8] {
            for list in delimiters {
                if let found = list.first(where: { $0.name == file.name && $0.suffix == ".delim" }) {
                    return found.content
                }
            }
            return []
        }
        switch file.suffix {
        case "", ".override": variables[file.name] = file.content
        case ".append": variables[file.name] = old.isEmpty ? file.content : old + delimiter() + file.content
        case ".prepend": variables[file.name] = old.isEmpty ? file.content : file.content + delimiter() + old
        case ".default": if old.isEmpty { variables[file.name] = file.content }
        default: break
        }
    }

    /// Adds what the user gives a build: path lists in front of the layers' own, all else in place of it.
    static func overlay(_ user: [String: [UInt8]], on variables: EnvironmentVariables) -> EnvironmentVariables {
        var out = variables
        for (name, value) in user {
            let old = out[name]
            out[name] = pathLists.contains(name) && !old.isEmpty ? value + [58] + old : value
        }
        return out
    }
}
