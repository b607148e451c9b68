import Domain

/// Lists of buildpacks in files of the source. Pure: bytes in, names out.
enum BuildpackList {
    /// More can't be meant.
    static let maximumCount = 20
    static let maximumFileBytes = 64 << 10
    /// Of `app.json`, which holds more than this list.
    static let maximumManifestBytes = 256 << 10

    /// `.buildpacks`: one address a line, `#` begins a comment line.
    /// - Throws: `sourceUnusable` with the number of the line.
    static func file(_ bytes: [UInt8]) throws(BuildStop) -> [String] {
        guard bytes.count <= maximumFileBytes else { throw fault(".buildpacks", "is larger than 64 KiB") }
        guard var text = String(validating: bytes, as: UTF8.self)?[...] else {
            throw fault(".buildpacks", "is not UTF-8 text")
        }
        if text.unicodeScalars.first == "\u{FEFF}" { text = text.dropFirst() }
        var list: [String] = []
        for (index, raw) in text.split(omittingEmptySubsequences: false, whereSeparator: \.isNewline).enumerated() {
            let line = raw.trimmingWhitespace()
            if line.isEmpty || line.hasPrefix("#") { continue }
            guard line.utf8.count <= FetchURL.maximumBytes else {
                throw fault(".buildpacks", "line \(index + 1) is longer than \(FetchURL.maximumBytes) bytes")
            }
            guard !line.contains(where: \.isWhitespace) else {
                throw fault(
                    ".buildpacks",
                    "line \(index + 1) holds white space; write one address a line, as in https://host/path.git#ref")
            }
            list.append(String(line))
        }
        return try limited(list, ".buildpacks")
    }

    /// `"buildpacks": [{"url": "…"}]` of `app.json`. Nil if it has no such member or an empty one.
    /// - Throws: `sourceUnusable`.
    static func manifest(_ bytes: [UInt8]) throws(BuildStop) -> [String]? {
        guard bytes.count <= maximumManifestBytes else { throw fault("app.json", "is larger than 256 KiB") }
        let json: JSONValue
        do throws(PaaSError) { json = try JSONParser.parse(bytes) } catch {
            throw fault("app.json", error.message)
        }
        guard json.members != nil else { throw fault("app.json", "must be an object, not \(json.kindDescription)") }
        guard let member = json["buildpacks"], !member.isNull else { return nil }
        guard let entries = member.arrayValue else {
            throw fault(
                "app.json",
                "\"buildpacks\" must be an array as in [{\"url\": \"https://host/path.git\"}], not \(member.kindDescription)"
            )
        }
        var list: [String] = []
        for (index, entry) in entries.enumerated() {
            guard let url = entry["url"]?.stringValue?.trimmingWhitespace(), !url.isEmpty else {
                throw fault(
                    "app.json",
                    "entry \(index + 1) of \"buildpacks\" has no \"url\"; write {\"url\": \"https://host/path.git\"}")
            }
            list.append(String(url))
        }
        return list.isEmpty ? nil : try limited(list, "app.json")
    }

    /// The app's setting: separated by spaces.
    /// - Throws: `buildpackUnusable` if there are too many.
    static func setting(_ text: String) throws(BuildStop) -> [String] {
        let list = text.split(whereSeparator: \.isWhitespace).map(String.init)
        guard list.count <= maximumCount else {
            throw BuildStop(
                .buildpackUnusable, "The app names \(list.count) buildpacks; at most \(maximumCount) are possible.")
        }
        return list
    }

    private static func limited(_ list: [String], _ file: String) throws(BuildStop) -> [String] {
        guard list.count <= maximumCount else {
            throw fault(file, "names \(list.count) buildpacks; at most \(maximumCount) are possible")
        }
        return list
    }

    private static func fault(_ file: String, _ what: String) -> BuildStop {
        BuildStop(.sourceUnusable, "\(file): \(what).")
    }
}
