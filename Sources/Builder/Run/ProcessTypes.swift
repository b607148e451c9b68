import Domain

/// The process types of a slug: the buildpack's defaults, overridden by the Procfile.
struct ProcessTypes: Sendable, Equatable {
    var commands: [String: String]
    /// For the build's output.
    var lines: [String]

    /// - Parameter procfile: the bytes of `Procfile`, nil if there is none.
    /// - Throws: `appFailed` saying what to write.
    init(procfile: [UInt8]?, release: ReleaseMetadata, buildpack: String) throws(PaaSError) {
        lines = ["-----> Discovering process types"]
        commands = release.defaultProcessTypes
        let declared = if let procfile { try Procfile(procfile) } else { Procfile?.none }
        if let declared {
            commands.merge(declared.commands) { _, own in own }
            lines.append("       Procfile declares types -> \(BuildWords.list(declared.entries.map(\.type)))")
        }
        let defaults = release.defaultProcessTypes.keys.filter { declared?.commands[$0] == nil }.sorted()
        if !defaults.isEmpty {
            lines.append("       Default types for \(buildpack) -> \(BuildWords.list(defaults))")
        }
        for warning in release.warnings { lines += BuildWords.error(warning) }
        // The release phase is declared like a process type; the other run is app.json's.
        let reserved = ReleaseRun.Kind.postdeploy.rawValue
        guard commands[reserved] == nil else {
            throw PaaSError(
                .appFailed,
                "the process type \(reserved) is reserved for scripts.postdeploy of app.json; give it another name")
        }
        guard commands.keys.contains(where: { ReleaseRun.Kind(rawValue: $0) == nil }) else {
            throw PaaSError(
                .appFailed,
                "nothing says what to run: add a file named Procfile with a line such as 'web: ./server --port $PORT'")
        }
    }
}
