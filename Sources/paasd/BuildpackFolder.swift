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
            var found: [BuildpackInfo] = []
            for name in try Files.list(folder)
            where Files.exists("\(folder)/\(name)/bin/detect") && BuildpackReference.ownName(name) == name {
                let text = try Files.readText("\(folder)/\(name)/looks-for", limit: descriptionLimit) ?? ""
                found.append(BuildpackInfo(name: name, looksFor: String(text.trimmingWhitespace())))
            }
            return found
        } catch {
            logger.error(
                "the platform's buildpacks can't be read", metadata: ["folder": "\(folder)", "error": "\(error)"])
            return []
        }
    }
}
