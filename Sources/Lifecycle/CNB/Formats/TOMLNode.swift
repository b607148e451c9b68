/// A value of a TOML document.
public enum TOMLNode: Sendable, Hashable {
    case string(String)
    case integer(Int64)
    case double(Double)
    case boolean(Bool)
    /// A date, a time or both, as TOML text.
    case moment(String)
    case array([TOMLNode])
    case table(TOMLMap)

    /// For messages: `a string`.
    var kind: String {
        switch self {
        case .string: "a string"
        case .integer: "an integer"
        case .double: "a number"
        case .boolean: "a boolean"
        case .moment: "a date or time"
        case .array: "an array"
        case .table: "a table"
        }
    }
}

/// A table of a TOML document. Keys are kept sorted, so that equal tables are written as equal bytes.
public struct TOMLMap: Sendable, Hashable, ExpressibleByDictionaryLiteral {
    private var values: [String: TOMLNode]

    public init(_ values: [String: TOMLNode] = [:]) { self.values = values }

    public init(dictionaryLiteral elements: (String, TOMLNode)...) {
        values = Dictionary(elements, uniquingKeysWith: { _, last in last })
    }

    public subscript(key: String) -> TOMLNode? {
        get { values[key] }
        set { values[key] = newValue }
    }

    public var isEmpty: Bool { values.isEmpty }
    public var keys: [String] { values.keys.sorted() }
}

extension TOMLMap {
    /// The table as a TOML document, laid out as people write it: buildpacks in bash read such files by lines.
    public func encoded() -> [UInt8] {
        var text = ""
        write(to: &text, path: "")
        return Array(text.utf8)
    }

    /// - Parameter path: of this table, with a dot at the end.
    private func write(to text: inout String, path: String) {
        var tables: [(name: String, table: TOMLMap)] = []
        var lists: [(name: String, tables: [TOMLMap])] = []
        for key in keys {
            guard let value = self[key] else { continue }
            let name = path + Self.key(key)
            if case .table(let table) = value {
                tables.append((name, table))
            } else if case .array(let items) = value, let list = Self.tables(items) {
                lists.append((name, list))
            } else {
                text += "\(Self.key(key)) = \(Self.inline(value))\n"
            }
        }
        for (name, table) in tables {
            text += "\(text.isEmpty ? "" : "\n")[\(name)]\n"
            table.write(to: &text, path: name + ".")
        }
        for (name, list) in lists {
            for table in list {
                text += "\(text.isEmpty ? "" : "\n")[[\(name)]]\n"
                table.write(to: &text, path: name + ".")
            }
        }
    }

    /// Nil for a list that is empty or holds anything else.
    private static func tables(_ items: [TOMLNode]) -> [TOMLMap]? {
        guard !items.isEmpty else { return nil }
        var out: [TOMLMap] = []
        for item in items {
            guard case .table(let table) = item else { return nil }
            out.append(table)
        }
        return out
    }

    private static func key(_ text: String) -> String {
        let bare = text.utf8.allSatisfy {
            ($0 >= 48 && $0 <= 57) || ($0 >= 65 && $0 <= 90) || ($0 >= 97 && $0 <= 122) || $0 == 95 || $0 == 45
        }
        return bare && !text.isEmpty ? text : quoted(text)
    }

    private static func inline(_ node: TOMLNode) -> String {
        switch node {
        case .string(let text): quoted(text)
        case .integer(let value): String(value)
        case .double(let value):
            value.isNaN ? "nan" : value.isInfinite ? (value < 0 ? "-inf" : "inf") : Self.number(value)
        case .boolean(let flag): flag ? "true" : "false"
        case .moment(let text): text
        case .array(let items): "[" + items.map(inline).joined(separator: ", ") + "]"
        case .table(let table):
            table.isEmpty
                ? "{}"
                : "{ "
                    + table.keys.map { "\(key($0)) = \(inline(table[$0] ?? .string("")))" }.joined(separator: ", ")
                    + " }"
        }
    }

    /// TOML tells a number from an integer by its point or exponent.
    private static func number(_ value: Double) -> String {
        let text = String(value)
        return text.contains(where: { $0 == "." || $0 == "e" }) ? text : text + ".0"
    }

    private static func quoted(_ text: String) -> String {
        var out = "\""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\"": out += "\\\""
            case "\\": out += "\\\\"
            case "\n": out += "\\n"
            case "\t": out += "\\t"
            case "\r": out += "\\r"
            case _ where scalar.value < 32 || scalar.value == 127:
                let hex = String(scalar.value, radix: 16)
                out += "\\u" + String(repeating: "0", count: 4 - hex.count) + hex
            default: out.unicodeScalars.append(scalar)
            }
        }
        return out + "\""
    }
}
