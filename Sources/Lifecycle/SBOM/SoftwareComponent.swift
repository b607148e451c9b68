import Domain

/// A package that was found in a slug.
struct SoftwareComponent: Sendable, Hashable {
    /// Most that is kept of the places where it was found.
    static let maximumPlaces = 5

    var name: String
    /// Empty: not known.
    var version: String
    /// In front of the name: an npm scope.
    var group: String?
    /// Package URL, which names it among all of them; nil for what a foreign bill gives without one.
    var purl: String?
    /// In hexadecimal.
    var sha256: String?
    /// Where it was fetched from, without user name and password.
    var url: String?
    /// Relative to the slug, of the file that says so.
    var places: [String] = []
    /// A component of a buildpack's own bill, kept with what it says.
    var foreign: [JSONValue.Member]?

    /// What makes two of them the same.
    var key: String {
        purl ?? "\(group.map { $0 + "/" } ?? "")\(name)@\(version)"
    }

    /// The same package once more.
    mutating func merge(_ other: SoftwareComponent) {
        sha256 = sha256 ?? other.sha256
        url = url ?? other.url
        foreign = foreign ?? other.foreign
        for place in other.places where places.count < Self.maximumPlaces && !places.contains(place) {
            places.append(place)
        }
    }

    /// - Parameter reference: name within the document.
    func document(reference: String) -> JSONValue {
        var members: [JSONValue.Member] = []
        func add(_ name: String, _ value: JSONValue) {
            if !members.contains(where: { $0.name == name }) { members.append(.init(name, value)) }
        }
        add("type", foreign?.first { $0.name == "type" }?.value ?? .string("library"))
        add("bom-ref", .string(reference))
        if let group { add("group", .string(group)) }
        add("name", .string(name))
        if !version.isEmpty { add("version", .string(version)) }
        if let sha256 {
            add("hashes", .array([.object([.init("alg", .string("SHA-256")), .init("content", .string(sha256))])]))
        }
        if let purl { add("purl", .string(purl)) }
        if let url {
            add(
                "externalReferences",
                .array([.object([.init("type", .string("distribution")), .init("url", .string(url))])]))
        }
        for member in foreign ?? [] { add(member.name, member.value) }
        if !places.isEmpty {
            let occurrences = places.map { JSONValue.object([.init("location", .string($0))]) }
            add("evidence", .object([.init("occurrences", .array(occurrences))]))
        }
        return .object(members)
    }
}

/// Package URLs, as the purl specification writes them.
enum PackageURL {
    /// - Parameters:
    ///   - namespace: parts between type and name.
    ///   - qualifiers: sorted by the caller.
    static func make(
        _ type: String, namespace: [String] = [], name: String, version: String, qualifiers: [(String, String)] = []
    ) -> String {
        var out = "pkg:" + ([type] + (namespace + [name]).map { encode($0) }).joined(separator: "/")
        if !version.isEmpty { out += "@" + encode(version) }
        if !qualifiers.isEmpty {
            out += "?" + qualifiers.map { "\($0.0)=\(encode($0.1))" }.joined(separator: "&")
        }
        return out
    }

    /// Percent-encodes all but letters, digits and `.-_~:`.
    static func encode(_ text: String) -> String {
        var out = ""
        for byte in text.utf8 {
            if (byte >= 48 && byte <= 57) || (byte >= 65 && byte <= 90) || (byte >= 97 && byte <= 122)
                || ".-_~:".utf8.contains(byte)
            {
                out.unicodeScalars.append(Unicode.Scalar(byte))
            } else {
                let hex = String(byte, radix: 16, uppercase: true)
                out += "%" + (hex.count < 2 ? "0" : "") + hex
            }
        }
        return out
    }
}
