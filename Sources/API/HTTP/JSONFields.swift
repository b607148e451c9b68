import Domain

/// Strict reading of a JSON object: unknown members and wrong kinds are refused by name.
struct JSONFields {
    private var values: [String: JSONValue] = [:]

    /// - Throws: `malformed` naming every unknown member and listing the known ones.
    init(_ json: JSONValue, allowed: [String], what: String = "the body") throws(PaaSError) {
        guard let members = json.members else {
            throw PaaSError(.malformed, "\(what) must be a JSON object, not \(json.kindDescription)")
        }
        let unknown = members.map(\.name).filter { !allowed.contains($0) }
        guard unknown.isEmpty else {
            let known = allowed.isEmpty ? "none is taken here" : "known ones: \(allowed.joined(separator: ", "))"
            throw PaaSError(
                .malformed,
                "unknown field \(unknown.prefix(5).map { Names.quoted($0) }.joined(separator: ", ")); \(known)",
                invalidParameters: unknown.prefix(20).map { .init(name: $0, reason: "unknown field") })
        }
        for member in members { values[member.name] = member.value }
    }

    func has(_ name: String) -> Bool { values[name] != nil }
    /// Nil when it is not there; `null` when it is null.
    func value(_ name: String) -> JSONValue? { values[name] }

    static func wrongKind(_ name: String, _ wanted: String, _ got: JSONValue) -> PaaSError {
        PaaSError(
            .malformed, "field \(Names.quoted(name)) must be \(wanted), not \(got.kindDescription)",
            invalidParameters: [.init(name: name, reason: "must be \(wanted)")])
    }

    private func read<Value>(_ name: String, _ wanted: String, _ convert: (JSONValue) -> Value?) throws(PaaSError)
        -> Value?
    {
        guard let value = values[name], !value.isNull else { return nil }
        guard let result = convert(value) else { throw Self.wrongKind(name, wanted, value) }
        return result
    }

    func string(_ name: String) throws(PaaSError) -> String? { try read(name, "a string", \.stringValue) }
    func bool(_ name: String) throws(PaaSError) -> Bool? { try read(name, "true or false", \.boolValue) }
    func integer(_ name: String) throws(PaaSError) -> Int64? { try read(name, "a whole number", \.integerValue) }

    func required(_ name: String) throws(PaaSError) -> String {
        guard let value = try string(name) else {
            throw PaaSError(
                .malformed, "field \(Names.quoted(name)) is missing",
                invalidParameters: [.init(name: name, reason: "required")])
        }
        return value
    }

    func port(_ name: String) throws(PaaSError) -> UInt16? {
        guard let number = try integer(name) else { return nil }
        guard let port = UInt16(exactly: number), port > 0 else {
            throw Self.impossible(name, "must be from 1 to 65535")
        }
        return port
    }

    /// One of the raw values of an enumeration.
    func choice<Choice: RawRepresentable<String>>(_ name: String, _ all: [Choice]) throws(PaaSError) -> Choice? {
        guard let text = try string(name) else { return nil }
        guard let value = Choice(rawValue: text), all.contains(where: { $0.rawValue == text }) else {
            throw Self.impossible(name, "must be one of \(all.map(\.rawValue).joined(separator: ", "))")
        }
        return value
    }

    func strings(_ name: String, limit: Int) throws(PaaSError) -> [String]? {
        guard let items = try read(name, "an array of strings", \.arrayValue) else { return nil }
        guard items.count <= limit else { throw Self.impossible(name, "may have at most \(limit) entries") }
        var texts: [String] = []
        for item in items {
            guard let text = item.stringValue else { throw Self.wrongKind(name, "an array of strings", item) }
            texts.append(text)
        }
        return texts
    }

    func stringMap(_ name: String, limit: Int) throws(PaaSError) -> [String: String]? {
        guard let members = try read(name, "an object of strings", \.members) else { return nil }
        guard members.count <= limit else { throw Self.impossible(name, "may have at most \(limit) entries") }
        var map: [String: String] = [:]
        for member in members {
            guard let text = member.value.stringValue else {
                throw Self.wrongKind(name, "an object of strings", member.value)
            }
            map[member.name] = text
        }
        return map
    }

    /// Well formed, but impossible.
    static func impossible(_ name: String, _ reason: String) -> PaaSError {
        PaaSError(
            .invalid, "field \(Names.quoted(name)) \(reason)", invalidParameters: [.init(name: name, reason: reason)])
    }
}
