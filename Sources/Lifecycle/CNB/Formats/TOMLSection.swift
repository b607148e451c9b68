import Domain

/// A table of a document while it is read: every wrong kind of value is named with file and key.
struct TOMLSection: Hashable {
    var map: TOMLMap
    /// For messages.
    var file: String
    /// Keys from the root, with a dot at the end.
    var path: String

    func fail(_ key: String, _ what: String) -> TOMLFailure {
        TOMLFailure(message: "\(file): \(Names.quoted(path + key)) \(what)")
    }

    func string(_ key: String) throws(TOMLFailure) -> String? {
        switch map[key] {
        case nil: nil
        case .string(let text): text
        case .some(let other): throw fail(key, "must be a string, not \(other.kind)")
        }
    }

    func requiredString(_ key: String) throws(TOMLFailure) -> String {
        guard let text = try string(key), !text.isEmpty else { throw fail(key, "is missing") }
        return text
    }

    /// False if it is not there.
    func flag(_ key: String) throws(TOMLFailure) -> Bool {
        switch map[key] {
        case nil: false
        case .boolean(let flag): flag
        case .some(let other): throw fail(key, "must be true or false, not \(other.kind)")
        }
    }

    /// Empty if it is not there.
    func strings(_ key: String) throws(TOMLFailure) -> [String] {
        guard let value = map[key] else { return [] }
        guard case .array(let items) = value else { throw fail(key, "must be an array of strings, not \(value.kind)") }
        var out: [String] = []
        for item in items {
            guard case .string(let text) = item else { throw fail(key, "must hold strings only, not \(item.kind)") }
            out.append(text)
        }
        return out
    }

    /// Nil if it is not there.
    func section(_ key: String) throws(TOMLFailure) -> TOMLSection? {
        switch map[key] {
        case nil: nil
        case .table(let table): TOMLSection(map: table, file: file, path: "\(path)\(key).")
        case .some(let other): throw fail(key, "must be a table, not \(other.kind)")
        }
    }

    /// The tables of `[[key]]`; empty if there are none.
    func sections(_ key: String) throws(TOMLFailure) -> [TOMLSection] {
        guard let value = map[key] else { return [] }
        guard case .array(let items) = value else { throw fail(key, "must be an array of tables, not \(value.kind)") }
        var out: [TOMLSection] = []
        for (index, item) in items.enumerated() {
            guard case .table(let table) = item else { throw fail(key, "must hold tables only, not \(item.kind)") }
            out.append(TOMLSection(map: table, file: file, path: "\(path)\(key)[\(index)]."))
        }
        return out
    }
}
