import Domain
import OS
import TOMLKit

/// A TOML file that can't be used, with its name and what is wrong.
struct TOMLFailure: Error, Hashable {
    var message: String
}

/// Reads TOML by TOMLKit, which is made for the user's own configuration: limits for foreign bytes stand in front of it.
/// It gives strings to Swift as C strings, so a document with a NUL is refused before it could be cut short; and a table can
/// nest as deep as the text is long, where a stack can't.
enum TOMLDocument {
    static let maximumBytes = 1 << 20
    /// Of tables, arrays and dotted keys.
    static let maximumDepth = 32

    /// - Parameter name: of the file, for messages.
    static func parse(_ bytes: [UInt8], _ name: String) throws(TOMLFailure) -> TOMLSection {
        guard bytes.count <= maximumBytes else {
            throw TOMLFailure(message: "\(name) is larger than \(maximumBytes >> 10) KiB")
        }
        guard let text = String(validating: bytes, as: UTF8.self) else {
            throw TOMLFailure(message: "\(name) is not valid UTF-8")
        }
        if let problem = structureProblem(bytes) { throw TOMLFailure(message: "\(name): \(problem)") }
        let table: TOMLTable
        do {
            table = try TOMLTable(string: text)
        } catch let error as TOMLParseError {
            throw TOMLFailure(
                message:
                    "\(name) line \(error.source.begin.line): \(Names.quoted(error.description).dropFirst().dropLast())"
            )
        } catch {
            throw TOMLFailure(message: "\(name) is not valid TOML")
        }
        return TOMLSection(map: try map(table, name, 0), file: name, path: "")
    }

    /// The file at `path`; nil if there is none. A link is followed, as the buildpack that wrote it would.
    static func read(_ path: String, _ name: String) throws(TOMLFailure) -> TOMLSection? {
        let bytes: [UInt8]?
        do throws(SystemError) {
            bytes = try Files.read(path, limit: maximumBytes)
        } catch {
            throw TOMLFailure(message: "\(name) can't be read: \(error)")
        }
        guard let bytes else { return nil }
        return try parse(bytes, name)
    }

    /// What stands in the way of parsing: NUL, more levels than a stack holds, and what TOML doesn't allow but makes the
    /// parser give up with the whole program: brackets that don't match, headers without a key, dates without their time, odd white
    /// space. Strings and
    /// comments are skipped, so that what stands in them counts for nothing.
    private static func structureProblem(_ bytes: [UInt8]) -> String? {
        let quote = UInt8(ascii: "\""), apostrophe = UInt8(ascii: "'"), newline = UInt8(ascii: "\n")
        let backslash = UInt8(ascii: "\\")
        var at = 0
        /// Brackets that are open.
        var open: [UInt8] = []
        var dots = 0
        /// Nothing but space stands before it on its line.
        var first = true
        func byte(_ index: Int) -> UInt8 { index < bytes.count ? bytes[index] : newline }
        while at < bytes.count {
            let current = bytes[at]
            let isFirst = first
            first = current == newline || (first && (current == UInt8(ascii: " ") || current == UInt8(ascii: "\t")))
            switch current {
            case 0: return "a NUL byte is not allowed"
            case UInt8(ascii: "#"):
                while at + 1 < bytes.count && bytes[at + 1] != newline { at += 1 }
            case quote, apostrophe:
                let long = byte(at + 1) == current && byte(at + 2) == current
                at += long ? 3 : 1
                while at < bytes.count {
                    if bytes[at] == backslash && current == quote {
                        if escapesNUL(bytes, at) { return "the character \\u0000 is not allowed" }
                        at += 2
                        continue
                    }
                    if long && bytes[at] == current && byte(at + 1) == current && byte(at + 2) == current {
                        at += 2
                        // Up to two more belong to the text before the end.
                        if byte(at + 1) == current { at += 1 }
                        if byte(at + 1) == current { at += 1 }
                        break
                    }
                    if !long && (bytes[at] == current || bytes[at] == newline) { break }
                    at += 1
                }
            case UInt8(ascii: "["), UInt8(ascii: "{"):
                if current == UInt8(ascii: "["), isFirst, open.isEmpty, !isHeader(bytes[(at + 1)...]) {
                    return "a table's header must begin with a key"
                }
                open.append(current)
                dots = 0
            case UInt8(ascii: "]"), UInt8(ascii: "}"):
                // In ASCII a closing bracket is two after its opening one.
                guard open.popLast() == current - 2 else { return "a bracket is closed that is not open" }
            case UInt8(ascii: "."): dots += 1
            case newline, UInt8(ascii: "="), UInt8(ascii: ","): dots = 0
            case UInt8(ascii: "T"), UInt8(ascii: "t"):
                if endsWithDate(bytes[..<at]) && !isDigit(byte(at + 1)) { return "a date is followed by no time" }
            case UInt8(ascii: "\t"), 32..<127: break
            case UInt8(ascii: "\r") where byte(at + 1) == newline: break
            case 0xEF where at == 0 && bytes.starts(with: [0xEF, 0xBB, 0xBF]): at += 2
            default: return "only ASCII is allowed outside of strings and comments"
            }
            if open.count > maximumDepth || dots > maximumDepth { return "more than \(maximumDepth) levels" }
            at += 1
        }
        return nil
    }

    private static func isDigit(_ byte: UInt8) -> Bool { byte >= 48 && byte <= 57 }

    /// Whether `YYYY-MM-DD` stands at the end.
    private static func endsWithDate(_ bytes: ArraySlice<UInt8>) -> Bool {
        bytes.count >= 10 && zip(bytes.suffix(10), "0000-00-00".utf8).allSatisfy { $1 == 48 ? isDigit($0) : $0 == $1 }
    }

    /// - Parameter rest: what follows the first bracket.
    private static func isHeader(_ rest: ArraySlice<UInt8>) -> Bool {
        func isSpace(_ byte: UInt8) -> Bool { byte == UInt8(ascii: " ") || byte == UInt8(ascii: "\t") }
        var rest = rest.drop(while: isSpace)
        if rest.first == UInt8(ascii: "[") { rest = rest.dropFirst().drop(while: isSpace) }
        guard let byte = rest.first else { return false }
        return (byte >= 48 && byte <= 57) || (byte >= 65 && byte <= 90) || (byte >= 97 && byte <= 122)
            || "_-\"'".utf8.contains(byte)
    }

    private static func escapesNUL(_ bytes: [UInt8], _ at: Int) -> Bool {
        let rest = bytes[at...].prefix(10)
        return rest.starts(with: Array("\\u0000".utf8)) || rest.starts(with: Array("\\U00000000".utf8))
    }

    private static func map(_ table: TOMLTable, _ name: String, _ depth: Int) throws(TOMLFailure) -> TOMLMap {
        guard depth <= maximumDepth else { throw TOMLFailure(message: "\(name): more than \(maximumDepth) levels") }
        var map = TOMLMap()
        // Once each: TOMLKit copies all keys at every access.
        for (key, value) in zip(table.keys, table.values) { map[key] = try node(value, name, depth) }
        return map
    }

    private static func node(_ value: TOMLValue, _ name: String, _ depth: Int) throws(TOMLFailure) -> TOMLNode {
        switch value.type {
        case .string: return .string(value.string ?? "")
        case .int: return .integer(Int64(value.int ?? 0))
        case .double: return .double(value.double ?? 0)
        case .bool: return .boolean(value.bool ?? false)
        case .date, .time, .dateTime:
            // Only the library's own writer tells a local time from one in UTC.
            let text = TOMLTable(["x": value]).convert()
            return .moment(String(text.drop(while: { $0 != "=" }).dropFirst().trimmingWhitespace()))
        case .array:
            guard depth <= maximumDepth else { throw TOMLFailure(message: "\(name): more than \(maximumDepth) levels") }
            var items: [TOMLNode] = []
            for item in value.array ?? TOMLArray() { items.append(try node(item.tomlValue, name, depth + 1)) }
            return .array(items)
        case .table: return .table(try map(value.table ?? TOMLTable(), name, depth + 1))
        }
    }
}
