/// Reads JSON to the letter of RFC 8259: one value, UTF-8, no comments, no trailing commas. A member that is there twice
/// is refused, because programs disagree about which of the two counts.
public struct JSONParser {
    public static let maximumDepth = 64

    private let bytes: [UInt8]
    private var position = 0

    private init(_ bytes: [UInt8]) { self.bytes = bytes }

    /// - Throws: `malformed` with line and column of the first byte that can't be read.
    public static func parse(_ bytes: [UInt8]) throws(PaaSError) -> JSONValue {
        var parser = JSONParser(bytes)
        parser.skipSpace()
        let value = try parser.value(depth: 0)
        parser.skipSpace()
        guard parser.position == bytes.count else { throw parser.failure("expected the end of the document") }
        return value
    }

    private func failure(_ what: String) -> PaaSError {
        var line = 1
        var column = 1
        for byte in bytes.prefix(position) {
            if byte == 10 {
                line += 1
                column = 1
            } else {
                column += 1
            }
        }
        let end = position >= bytes.count ? ", at the end of the text" : ""
        return PaaSError(.malformed, "not valid JSON: \(what) (line \(line), column \(column)\(end))")
    }

    private var current: UInt8? { position < bytes.count ? bytes[position] : nil }

    private mutating func skipSpace() {
        while let byte = current, byte == 32 || byte == 9 || byte == 10 || byte == 13 { position += 1 }
    }

    private mutating func value(depth: Int) throws(PaaSError) -> JSONValue {
        guard depth < Self.maximumDepth else { throw failure("more than \(Self.maximumDepth) levels") }
        switch current {
        case UInt8(ascii: "{"): return try object(depth: depth)
        case UInt8(ascii: "["): return try array(depth: depth)
        case UInt8(ascii: "\""): return .string(try string())
        case UInt8(ascii: "t"): return try word("true", .bool(true))
        case UInt8(ascii: "f"): return try word("false", .bool(false))
        case UInt8(ascii: "n"): return try word("null", .null)
        case .some(let byte) where byte == UInt8(ascii: "-") || (byte >= 48 && byte <= 57): return try number()
        default: throw failure("expected a value")
        }
    }

    private mutating func word(_ word: String, _ value: JSONValue) throws(PaaSError) -> JSONValue {
        guard bytes[position...].starts(with: word.utf8) else { throw failure("expected a value") }
        position += word.utf8.count
        return value
    }

    private mutating func object(depth: Int) throws(PaaSError) -> JSONValue {
        position += 1
        var members: [JSONValue.Member] = []
        var names: Set<String> = []
        skipSpace()
        if current == UInt8(ascii: "}") {
            position += 1
            return .object([])
        }
        while true {
            skipSpace()
            guard current == UInt8(ascii: "\"") else { throw failure("expected a member name in double quotes") }
            let start = position
            let name = try string()
            guard names.insert(name).inserted else {
                position = start
                throw failure("member \(Names.quoted(name)) is there twice")
            }
            skipSpace()
            guard current == UInt8(ascii: ":") else { throw failure("expected ':'") }
            position += 1
            skipSpace()
            members.append(.init(name, try value(depth: depth + 1)))
            skipSpace()
            switch current {
            case UInt8(ascii: ","): position += 1
            case UInt8(ascii: "}"):
                position += 1
                return .object(members)
            default: throw failure("expected ',' or '}'")
            }
        }
    }

    private mutating func array(depth: Int) throws(PaaSError) -> JSONValue {
        position += 1
        var items: [JSONValue] = []
        skipSpace()
        if current == UInt8(ascii: "]") {
            position += 1
            return .array([])
        }
        while true {
            skipSpace()
            items.append(try value(depth: depth + 1))
            skipSpace()
            switch current {
            case UInt8(ascii: ","): position += 1
            case UInt8(ascii: "]"):
                position += 1
                return .array(items)
            default: throw failure("expected ',' or ']'")
            }
        }
    }

    private mutating func number() throws(PaaSError) -> JSONValue {
        let start = position
        var isInteger = true
        func isDigit(_ byte: UInt8?) -> Bool { byte.map { $0 >= 48 && $0 <= 57 } ?? false }
        if current == UInt8(ascii: "-") { position += 1 }
        guard isDigit(current) else { throw failure("expected a digit") }
        if current == UInt8(ascii: "0") { position += 1 } else { while isDigit(current) { position += 1 } }
        guard !isDigit(current) else { throw failure("a number can't start with 0") }
        if current == UInt8(ascii: ".") {
            isInteger = false
            position += 1
            guard isDigit(current) else { throw failure("expected a digit") }
            while isDigit(current) { position += 1 }
        }
        if current == UInt8(ascii: "e") || current == UInt8(ascii: "E") {
            isInteger = false
            position += 1
            if current == UInt8(ascii: "+") || current == UInt8(ascii: "-") { position += 1 }
            guard isDigit(current) else { throw failure("expected a digit") }
            while isDigit(current) { position += 1 }
        }
        let text = String(decoding: bytes[start..<position], as: UTF8.self)
        if isInteger, let value = Int64(text) { return .integer(value) }
        guard let value = Double(text), value.isFinite else {
            position = start
            throw failure("number out of range")
        }
        return .number(value)
    }

    private mutating func string() throws(PaaSError) -> String {
        position += 1
        var out: [UInt8] = []
        while true {
            guard let byte = current else { throw failure("expected '\"'") }
            switch byte {
            case UInt8(ascii: "\""):
                guard let text = String(validating: out, as: UTF8.self) else { throw failure("text is not UTF-8") }
                position += 1
                return text
            case UInt8(ascii: "\\"):
                position += 1
                try escape(&out)
            case 0..<32: throw failure("a control character in a string must be escaped")
            default:
                out.append(byte)
                position += 1
            }
        }
    }

    private mutating func escape(_ out: inout [UInt8]) throws(PaaSError) {
        guard let byte = current else { throw failure("expected an escape") }
        position += 1
        switch byte {
        case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): out.append(byte)
        case UInt8(ascii: "b"): out.append(8)
        case UInt8(ascii: "f"): out.append(12)
        case UInt8(ascii: "n"): out.append(10)
        case UInt8(ascii: "r"): out.append(13)
        case UInt8(ascii: "t"): out.append(9)
        case UInt8(ascii: "u"):
            var code = try hex4()
            if code >= 0xD800, code < 0xDC00 {
                guard current == UInt8(ascii: "\\"), position + 1 < bytes.count,
                    bytes[position + 1] == UInt8(ascii: "u")
                else { throw failure("half of a surrogate pair") }
                position += 2
                let low = try hex4()
                guard low >= 0xDC00, low < 0xE000 else { throw failure("half of a surrogate pair") }
                code = 0x10000 + (code - 0xD800) << 10 + (low - 0xDC00)
            }
            guard let scalar = Unicode.Scalar(code) else { throw failure("half of a surrogate pair") }
            out += String(Character(scalar)).utf8
        default:
            position -= 1
            throw failure("unknown escape")
        }
    }

    private mutating func hex4() throws(PaaSError) -> UInt32 {
        guard position + 4 <= bytes.count else { throw failure("expected four hex digits") }
        var code: UInt32 = 0
        for _ in 0..<4 {
            switch bytes[position] {
            case let digit where digit >= 48 && digit <= 57: code = code << 4 + UInt32(digit - 48)
            case let digit where digit >= 65 && digit <= 70: code = code << 4 + UInt32(digit - 55)
            case let digit where digit >= 97 && digit <= 102: code = code << 4 + UInt32(digit - 87)
            default: throw failure("expected four hex digits")
            }
            position += 1
        }
        return code
    }
}
