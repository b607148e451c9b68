/// A value in `app.json` with its place, for messages that name it: `healthchecks.web[0].uptime`.
struct ManifestNode {
    /// Empty for the document itself.
    var path: String
    var value: JSONValue
    /// The member's name; empty for items of arrays.
    var name = ""

    /// The member of an object; nil if it is not there or null.
    subscript(_ name: String) -> ManifestNode? {
        guard let member = value[name], !member.isNull else { return nil }
        return ManifestNode(path: path.isEmpty ? name : "\(path).\(name)", value: member, name: name)
    }

    func failure(_ what: String) -> PaaSError {
        // Members of foreign objects may be called anything.
        let place = path.isEmpty ? "the document" : String(Names.quoted(path).dropFirst().dropLast())
        return PaaSError(.appFailed, "app.json: \(place) \(what)")
    }

    func wrongKind(_ wanted: String) -> PaaSError { failure("must be \(wanted), not \(value.kindDescription)") }

    func requireObject() throws(PaaSError) {
        guard value.members != nil else { throw wrongKind("an object") }
    }

    /// An object with no other members than these.
    func requireMembers(of known: [String]) throws(PaaSError) {
        for member in try members() where !known.contains(member.name) {
            throw member.failure("is unknown; there are: \(known.joined(separator: ", "))")
        }
    }

    /// Its name is one that a process type of the formation can have.
    func requireProcessType() throws(PaaSError) {
        do { try Names.validateShort(name, "process type") } catch { throw failure("is wrong: \(error.message)") }
        if ReleaseRun.Kind(rawValue: name) != nil { throw failure("can't be set: it runs once for a release") }
    }

    /// Members of an object, those that are null included.
    func members() throws(PaaSError) -> [ManifestNode] {
        guard let members = value.members else { throw wrongKind("an object") }
        return members.map {
            ManifestNode(path: path.isEmpty ? $0.name : "\(path).\($0.name)", value: $0.value, name: $0.name)
        }
    }

    func items() throws(PaaSError) -> [ManifestNode] {
        guard let items = value.arrayValue else { throw wrongKind("an array") }
        return items.enumerated().map { ManifestNode(path: "\(path)[\($0.offset)]", value: $0.element) }
    }

    func string() throws(PaaSError) -> String {
        guard let text = value.stringValue else { throw wrongKind("a string") }
        return text
    }

    func bool() throws(PaaSError) -> Bool {
        guard let flag = value.boolValue else { throw wrongKind("true or false") }
        return flag
    }

    func integer(_ range: ClosedRange<Int>) throws(PaaSError) -> Int {
        guard let number = value.integerValue else { throw wrongKind("a whole number") }
        guard range.contains(Int(number)) else {
            throw failure("must be from \(range.lowerBound) to \(range.upperBound)")
        }
        return Int(number)
    }

    /// `"256Mi"` or a number of bytes.
    func memory() throws(PaaSError) -> Int64 {
        let bytes: Int64?
        switch value {
        case .string(let text): bytes = ByteQuantity.parse(text)
        case .integer(let number): bytes = number
        default: throw wrongKind("an amount as in \"256Mi\"")
        }
        guard let bytes, Limits.memoryBytes.contains(bytes) else {
            throw failure("must be an amount \(Limits.memoryText), as in \"256Mi\"")
        }
        return bytes
    }

    /// A number of cores, in thousandths.
    func cores() throws(PaaSError) -> Int {
        guard let cores = value.numberValue else { throw wrongKind("a number of cores") }
        guard let millis = Int(exactly: (cores * 1000).rounded()), Limits.cpuMillis.contains(millis) else {
            throw failure("must be \(Limits.cpuText)")
        }
        return millis
    }
}
