import Domain

/// Files in which package managers write down what they installed. Every reader takes foreign bytes and gives nil for what it
/// can't understand.
enum PackageLists {
    struct Input {
        var name: String
        /// Folders from the root on.
        var path: [String]
        var bytes: [UInt8]
        var stack: String
    }

    typealias Reader = (Input) -> [SoftwareComponent]?

    /// Nil for a file that is no such list.
    static func reader(_ name: String, _ path: [String]) -> Reader? {
        let folder = path.last ?? ""
        switch name {
        case ".packages" where path == [".apt"]: return debian
        case "status" where path.suffix(3) == ["var", "lib", "dpkg"]: return debianStatus
        case "METADATA" where folder.hasSuffix(".dist-info") && isPython(path): return python
        case "PKG-INFO" where folder.hasSuffix(".egg-info") && isPython(path): return python
        case "package.json" where isNode(path): return node
        case "Package.resolved" where folder == ".swift-bin": return swift
        case "installed.json" where path.suffix(2) == ["vendor", "composer"]: return composer
        case "sbom.cdx.json" where path.starts(with: [".layers", "sbom", "launch"]): return cycloneDX
        case _ where folder == "specifications" && name.hasSuffix(".gemspec"): return gem
        default: return nil
        }
    }

    private static func isPython(_ path: [String]) -> Bool {
        let parent = path.dropLast().last
        return parent == "site-packages" || parent == "dist-packages"
    }

    /// The folder of a package, and not one inside of it.
    private static func isNode(_ path: [String]) -> Bool {
        let parents = path.suffix(3)
        if parents.dropLast().last == "node_modules" { return path.last?.hasPrefix("@") == false }
        return parents.count == 3 && parents.first == "node_modules"
            && parents.dropFirst().first?.hasPrefix("@") == true
    }

    private static func lines(_ bytes: [UInt8]) -> [Substring] {
        String(decoding: bytes, as: UTF8.self).split(whereSeparator: \.isNewline)
    }

    /// Fields `Name: value` up to the first empty line; continued lines are passed over.
    private static func fields(_ text: Substring) -> [String: String] {
        var out: [String: String] = [:]
        for line in text.split(omittingEmptySubsequences: false, whereSeparator: \.isNewline) {
            if line.isEmpty { break }
            guard let colon = line.firstIndex(of: ":"), !line.hasPrefix(" "), !line.hasPrefix("\t") else { continue }
            let name = line[..<colon].lowercased()
            if out[name] == nil { out[name] = String(line[line.index(after: colon)...].trimmingWhitespace()) }
        }
        return out
    }

    // MARK: Debian

    private static func debianPackage(
        _ name: String, _ version: String, _ architecture: String, _ stack: String
    ) -> SoftwareComponent {
        SoftwareComponent(
            name: name, version: version,
            purl: PackageURL.make(
                "deb", namespace: ["debian"], name: name.lowercased(), version: version,
                qualifiers: [("arch", architecture), ("distro", stack)].filter { !$0.1.isEmpty }))
    }

    /// Lines `NAME VERSION ARCHITECTURE SHA256 URL` that our buildpack `apt` writes.
    private static func debian(_ input: Input) -> [SoftwareComponent]? {
        var out: [SoftwareComponent] = []
        for line in lines(input.bytes) {
            let words = line.split(separator: " ").map(String.init)
            guard words.count >= 3 else { return nil }
            var component = debianPackage(words[0], words[1], words[2], input.stack)
            if words.count > 3, isDigest(words[3]) { component.sha256 = words[3].lowercased() }
            if words.count > 4 { component.url = withoutCredentials(words[4]) }
            out.append(component)
        }
        return out
    }

    private static func isDigest(_ text: String) -> Bool {
        text.utf8.count == 64
            && text.utf8.allSatisfy { ($0 >= 48 && $0 <= 57) || ($0 >= 97 && $0 <= 102) || ($0 >= 65 && $0 <= 70) }
    }

    /// A file as dpkg keeps it.
    private static func debianStatus(_ input: Input) -> [SoftwareComponent]? {
        let text = String(decoding: input.bytes, as: UTF8.self)
        var out: [SoftwareComponent] = []
        for paragraph in text.split(separator: "\n\n") {
            let fields = fields(paragraph)
            guard let name = fields["package"], let version = fields["version"] else { continue }
            if let status = fields["status"], !status.hasSuffix(" installed") { continue }
            out.append(debianPackage(name, version, fields["architecture"] ?? "", input.stack))
        }
        return out
    }

    // MARK: Python, Ruby

    private static func python(_ input: Input) -> [SoftwareComponent]? {
        let fields = fields(String(decoding: input.bytes.prefix(64 << 10), as: UTF8.self)[...])
        guard let name = fields["name"], let version = fields["version"] else { return nil }
        // One name however it is written, as the index has it.
        var normal = ""
        for character in name.lowercased() {
            let isMark = "-_.".contains(character)
            if !isMark { normal.append(character) } else if normal.last != "-" { normal.append("-") }
        }
        return [
            SoftwareComponent(
                name: name, version: version, purl: PackageURL.make("pypi", name: normal, version: version))
        ]
    }

    /// Ruby code, of which the two lines that RubyGems writes are read: `s.name = "x".freeze`.
    private static func gem(_ input: Input) -> [SoftwareComponent]? {
        func value(_ field: String) -> String? {
            for line in lines(Array(input.bytes.prefix(64 << 10))) {
                let text = line.trimmingWhitespace()
                guard text.hasPrefix("s.\(field) = ") || text.hasPrefix("s.\(field)= ") else { continue }
                let parts = text.split(separator: "\"", omittingEmptySubsequences: false)
                if parts.count >= 3 { return String(parts[1]) }
            }
            return nil
        }
        guard let name = value("name"), let version = value("version") else { return nil }
        return [
            SoftwareComponent(name: name, version: version, purl: PackageURL.make("gem", name: name, version: version))
        ]
    }

    // MARK: JSON

    private static func parse(_ bytes: [UInt8]) -> JSONValue? {
        do throws(PaaSError) { return try JSONParser.parse(bytes) } catch { return nil }
    }

    /// `package.json` of an installed package. One without a name and version is a part of another one.
    private static func node(_ input: Input) -> [SoftwareComponent]? {
        guard let root = parse(input.bytes) else { return nil }
        guard let full = root["name"]?.stringValue, let version = root["version"]?.stringValue else { return [] }
        let parts = full.split(separator: "/", maxSplits: 1).map(String.init)
        guard let name = parts.last else { return [] }
        let scope = parts.count == 2 ? parts[0] : nil
        return [
            SoftwareComponent(
                name: name, version: version, group: scope,
                purl: PackageURL.make(
                    "npm", namespace: scope.map { [$0.lowercased()] } ?? [], name: name.lowercased(), version: version))
        ]
    }

    private static func composer(_ input: Input) -> [SoftwareComponent]? {
        guard let root = parse(input.bytes) else { return nil }
        guard let packages = (root["packages"] ?? root).arrayValue else { return nil }
        return packages.compactMap { package in
            guard let full = package["name"]?.stringValue, let version = package["version"]?.stringValue else {
                return nil
            }
            let parts = full.lowercased().split(separator: "/").map(String.init)
            guard let name = parts.last else { return nil }
            return SoftwareComponent(
                name: name, version: version, group: parts.count > 1 ? parts[0] : nil,
                purl: PackageURL.make("composer", namespace: Array(parts.dropLast()), name: name, version: version))
        }
    }

    /// `Package.resolved`, all three versions of it, which our buildpack `swift` copies beside the programs.
    private static func swift(_ input: Input) -> [SoftwareComponent]? {
        guard let root = parse(input.bytes), let pins = (root["pins"] ?? root["object"]?["pins"])?.arrayValue else {
            return nil
        }
        return pins.compactMap { pin in
            guard let location = (pin["location"] ?? pin["repositoryURL"])?.stringValue else { return nil }
            let state = pin["state"]
            let version = (state?["version"] ?? state?["revision"])?.stringValue ?? ""
            // https://host/owner/name.git and git@host:owner/name.git are the same place.
            var path = withoutCredentials(location)
            if let scheme = path.firstRange(of: "://") { path = String(path[scheme.upperBound...]) }
            if let at = path.lastIndex(of: "@") { path = String(path[path.index(after: at)...]) }
            if path.hasSuffix(".git") { path.removeLast(4) }
            let parts = path.split(whereSeparator: { $0 == "/" || $0 == ":" }).map(String.init)
            guard let name = parts.last else { return nil }
            return SoftwareComponent(
                name: name, version: version,
                purl: PackageURL.make("swift", namespace: Array(parts.dropLast()), name: name, version: version))
        }
    }

    /// What a Cloud Native Buildpack says. References to other parts of its document lead nowhere in ours and are left out.
    private static func cycloneDX(_ input: Input) -> [SoftwareComponent]? {
        guard let root = parse(input.bytes), root["bomFormat"]?.stringValue == "CycloneDX" else { return nil }
        return (root["components"]?.arrayValue ?? []).compactMap { component in
            guard case .object(let members) = withoutCredentials(component), let name = component["name"]?.stringValue
            else { return nil }
            let purl = members.first { $0.name == "purl" }?.value.stringValue
            return SoftwareComponent(
                name: name, version: component["version"]?.stringValue ?? "", group: component["group"]?.stringValue,
                purl: purl.flatMap { $0.hasPrefix("pkg:") ? $0 : nil },
                foreign: members.filter { keptMembers.contains($0.name) && isKept($0) })
        }
    }

    /// Of a component of a foreign bill. The others refer to parts of that document, or are told by its reader.
    private static let keptMembers: Set<String> = [
        "type", "publisher", "author", "description", "scope", "licenses", "copyright", "cpe", "hashes",
        "externalReferences", "properties",
    ]
    private static let types: Set<String> = [
        "application", "framework", "library", "container", "platform", "operating-system", "device", "device-driver",
        "firmware", "file", "machine-learning-model", "data",
    ]

    private static func isKept(_ member: JSONValue.Member) -> Bool {
        member.name != "type" || types.contains(member.value.stringValue ?? "")
    }

    // MARK: Addresses

    /// In all texts of a value.
    private static func withoutCredentials(_ value: JSONValue) -> JSONValue {
        switch value {
        case .string(let text): .string(text.contains("://") ? withoutCredentials(text) : text)
        case .array(let items): .array(items.map(withoutCredentials))
        case .object(let members): .object(members.map { .init($0.name, withoutCredentials($0.value)) })
        default: value
        }
    }

    /// What stands between `://` and `@` of each address goes, wherever in a text it is.
    static func withoutCredentials(_ text: String) -> String {
        var out = ""
        var rest = text[...]
        while let mark = rest.firstRange(of: "://") {
            out += rest[..<mark.upperBound]
            rest = rest[mark.upperBound...]
            let authority = rest.prefix { !"/?#\"'<>".contains($0) && !$0.isWhitespace }
            if let at = authority.lastIndex(of: "@") { rest = rest[rest.index(after: at)...] }
        }
        return out + rest
    }
}
