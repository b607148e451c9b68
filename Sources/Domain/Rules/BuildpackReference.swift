/// The rules for the entries of an app's list of buildpacks: names (`python`, `slipway/python`, `heroku/nodejs`) and
/// addresses.
public enum BuildpackReference {
    /// - Throws: `invalid` saying which forms there are.
    public static func validate(_ entry: String) throws(PaaSError) {
        if isName(entry) { return }
        guard entry.contains(":") else {
            throw PaaSError(
                .invalid,
                "buildpack \(Names.quoted(entry)) is neither a name, as in python, nor an address, as in https://HOST/PATH#REF",
                invalidParameters: [.init(name: "buildpacks", reason: "neither a name nor an address")])
        }
        try SourceURL.validateBuildpack(entry, field: "buildpacks")
    }

    /// The name of one of the platform's own that the entry means; nil for any other.
    public static func ownName(_ entry: String) -> String? {
        guard isName(entry) else { return nil }
        let parts = entry.split(separator: "/")
        if parts.count == 1 { return entry }
        return parts[0] == "slipway" ? String(parts[1]) : nil
    }

    /// The path of a `file://` entry; nil for any other.
    public static func folder(_ entry: String) -> String? {
        guard entry.lowercased().hasPrefix("file://") else { return nil }
        return String(entry.dropFirst(7).prefix { $0 != "#" })
    }

    private static func isName(_ entry: String) -> Bool {
        let parts = entry.split(separator: "/", omittingEmptySubsequences: false)
        guard (1...2).contains(parts.count) else { return false }
        return parts.allSatisfy { part in
            part.utf8.count <= 64 && part.utf8.first.map { $0 >= 97 && $0 <= 122 } == true
                && part.utf8.allSatisfy { ($0 >= 97 && $0 <= 122) || ($0 >= 48 && $0 <= 57) || "-_.".utf8.contains($0) }
        }
    }
}

/// One of the platform's own buildpacks.
public struct BuildpackInfo: Sendable, Codable, Hashable {
    public var name: String
    /// Which files of a source make it match, in words.
    public var looksFor: String

    public init(name: String, looksFor: String) {
        self.name = name
        self.looksFor = looksFor
    }
}
