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
        if commands["release"] != nil {
            lines += BuildWords.error(
                "The type \"release\" is reserved for the release phase, which is not run by this version; run the command yourself: paasctl run"
            )
        }
        guard commands.keys.contains(where: { $0 != "release" }) else {
            throw PaaSError(
                .appFailed,
                "nothing says what to run: add a file named Procfile with a line such as 'web: ./server --port $PORT'")
        }
    }
}
