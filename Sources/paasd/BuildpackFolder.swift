import Domain
import Logging
import OS

/// The platform's own buildpacks, as they are installed.
enum BuildpackFolder {
    private static let descriptionLimit = 4096

    /// Reads names and descriptions, sorted by name. Empty, with a word in the log, when the folder can't be read: the API then
    /// checks no names.
    static func read(_ folder: String, logger: Logger) -> [BuildpackInfo] {
        do throws(SystemError) {
            return try Files.list(folder).sorted().compactMap { name throws(SystemError) in
                guard Files.exists("\(folder)/\(name)/bin/detect"), BuildpackReference.ownName(name) == name else {
                    return nil
                }
                let text = try Files.readText("\(folder)/\(name)/looks-for", limit: descriptionLimit) ?? ""
                return BuildpackInfo(name: name, looksFor: String(text.trimmingWhitespace()))
            }
        } catch {
            logger.error(
                "the platform's buildpacks can't be read", metadata: ["folder": "\(folder)", "error": "\(error)"])
            return []
        }
    }
}
