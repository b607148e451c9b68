import OS

/// The app's config vars as a build sees them: files in ENV_DIR, never in the environment.
struct ConfigFiles: Sendable {
    let folder: String

    /// The value as text without white space at its ends; nil if it is not set, empty, or no switch of ours could be so long.
    func text(_ name: String) throws(BuildStop) -> String? {
        let path = "\(folder)/\(name)"
        let value = try stopping { () throws(SystemError) in try Files.readText(path, limit: 128 << 10) }
        return value.flatMap { $0.isEmpty ? nil : $0 }
    }
}
