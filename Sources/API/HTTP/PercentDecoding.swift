import Domain

/// Decoding of the parts of a request target.
enum PercentDecoding {
    /// Nil for a broken escape, a NUL byte, or bytes that aren't UTF-8.
    static func decode(_ text: some StringProtocol, plusIsSpace: Bool = false) -> String? {
        var out: [UInt8] = []
        var bytes = text.utf8.makeIterator()
        while let byte = bytes.next() {
            switch byte {
            case UInt8(ascii: "%"):
                guard let high = bytes.next().flatMap(digit), let low = bytes.next().flatMap(digit) else { return nil }
                out.append(high << 4 | low)
            case UInt8(ascii: "+") where plusIsSpace: out.append(32)
            default: out.append(byte)
            }
        }
        return out.contains(0) ? nil : String(validating: out, as: UTF8.self)
    }

    /// The segments of a path, decoded; nil if one can't be.
    static func segments(_ path: some StringProtocol) -> [String]? {
        var segments: [String] = []
        for part in path.dropFirst().split(separator: "/", omittingEmptySubsequences: false) {
            guard let text = decode(part) else { return nil }
            segments.append(text)
        }
        return segments
    }

    /// - Throws: `malformed` for a parameter that is there twice or can't be decoded.
    static func query(_ text: String) throws(PaaSError) -> [String: String] {
        var values: [String: String] = [:]
        for part in text.split(separator: "&") {
            let pair = part.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            guard let name = decode(pair[0], plusIsSpace: true),
                let value = pair.count == 2 ? decode(pair[1], plusIsSpace: true) : ""
            else { throw PaaSError(.malformed, "the query can't be decoded; use %XX escapes of UTF-8") }
            guard values.updateValue(value, forKey: name) == nil else {
                throw PaaSError(
                    .malformed, "query parameter \(Names.quoted(name)) is there twice",
                    invalidParameters: [.init(name: name, reason: "given twice")])
            }
        }
        return values
    }

    private static func digit(_ byte: UInt8) -> UInt8? {
        switch byte {
        case 48...57: byte - 48
        case 65...70: byte - 55
        case 97...102: byte - 87
        default: nil
        }
    }
}
