import FoundationEssentials

/// One line of an OpenSSH public key file: type, bytes in base64 (RFC 4253, 6.6) and a comment.
public struct SSHPublicKey: Sendable, Hashable {
    /// As in `ssh-ed25519`.
    public var type: String
    /// The key itself, as its fingerprint is made of it.
    public var blob: [UInt8]
    /// Without control characters, at most 100 characters.
    public var comment: String

    /// Types that are taken. DSA is broken, and certificates need somebody who signs them.
    public static let types = [
        "ssh-ed25519", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521", "ssh-rsa",
        "sk-ssh-ed25519@openssh.com", "sk-ecdsa-sha2-nistp256@openssh.com",
    ]
    /// The largest RSA key that OpenSSH reads has 16,384 bits.
    public static let maximumBytes = 16_384
    static let rsaBits = 2048...16_384

    /// - Throws: `invalid` for what is no public key of a known type, saying what it is where that can be told.
    public init(_ text: String) throws(PaaSError) {
        // Also inside something larger: it must not be kept, and its owner has to know.
        if text.contains("PRIVATE KEY") || text.contains("PuTTY-User-Key-File") {
            throw PaaSError(
                .invalid,
                "this is a private key, which nobody but you may have; it was not kept, but make a new pair (ssh-keygen -t ed25519) and add its .pub file"
            )
        }
        guard text.utf8.count <= Self.maximumBytes else {
            throw PaaSError(.tooLarge, "a public key has at most \(Self.maximumBytes) bytes")
        }
        if text.contains("BEGIN SSH2 PUBLIC KEY") || text.contains("BEGIN PUBLIC KEY") || text.contains("BEGIN RSA") {
            throw Self.invalid("is not in OpenSSH's format; convert it: ssh-keygen -i -f FILE")
        }
        let lines = text.split(whereSeparator: \.isNewline).map { $0.trimmingWhitespace() }.filter {
            !$0.isEmpty && !$0.hasPrefix("#")
        }
        guard lines.count == 1, let line = lines.first else {
            throw Self.invalid(
                lines.isEmpty ? "is empty; send the line of a .pub file" : "must be one line; add each key by itself")
        }
        let words = line.split(maxSplits: 2, whereSeparator: { $0 == " " || $0 == "\t" })
        let type = words.first.map(String.init) ?? ""
        guard Self.types.contains(type) else { throw Self.unknown(type) }
        guard words.count >= 2 else { throw Self.invalid("has a type, but no key behind it") }
        try self.init(type: type, base64: String(words[1]), comment: words.count > 2 ? String(words[2]) : "")
    }

    /// - Throws: `invalid` as above.
    public init(type: String, base64: String, comment: String = "") throws(PaaSError) {
        guard Self.types.contains(type) else { throw Self.unknown(type) }
        guard base64.utf8.count <= Self.maximumBytes, let data = Data(base64Encoded: base64) else {
            throw Self.invalid("has no base64 behind its type; send the line of a .pub file as it is")
        }
        self.type = type
        blob = Array(data)
        self.comment = Self.clean(comment)
        var fields = Fields(blob)
        guard fields.next() == Array(type.utf8) else { throw Self.invalid("is not of the type that it says") }
        try Self.check(type, &fields)
        guard fields.isAtEnd else { throw Self.invalid("has bytes behind its end") }
    }

    /// Type and key, as a line of `authorized_keys` has them.
    public var line: String { "\(type) \(Data(blob).base64EncodedString())" }

    /// Without control characters, cut at 100 characters.
    public static func clean(_ comment: String) -> String {
        let shown = comment.unicodeScalars.filter { $0.properties.generalCategory != .control }
        return String(String(String.UnicodeScalarView(shown)).trimmingWhitespace().prefix(100))
    }

    private static func invalid(_ reason: String) -> PaaSError {
        PaaSError(
            .invalid, "the key \(reason)",
            invalidParameters: [.init(name: "key", reason: "no public key that is taken")])
    }

    private static func unknown(_ type: String) -> PaaSError {
        if type == "ssh-dss" { return invalid("is a DSA key, which is not safe; make another: ssh-keygen -t ed25519") }
        if type.contains("-cert-v01@") { return invalid("is a certificate; add the public key that it certifies") }
        return invalid(
            "has the type \(Names.quoted(type)); taken are \(types.joined(separator: ", ")), without options in front")
    }

    private static func check(_ type: String, _ fields: inout Fields) throws(PaaSError) {
        let broken = invalid("is damaged; copy the .pub file once more")
        switch type {
        case "ssh-rsa":
            guard let exponent = fields.next(), let modulus = fields.next(), let exponentBits = Fields.bits(exponent),
                let bits = Fields.bits(modulus), (2...64).contains(exponentBits), exponent.last.map({ $0 & 1 }) == 1
            else { throw broken }
            guard rsaBits.contains(bits) else {
                throw invalid(
                    "is an RSA key of \(bits) bits; from \(rsaBits.lowerBound) to \(rsaBits.upperBound) are taken: ssh-keygen -t ed25519 makes a better one"
                )
            }
        case "ssh-ed25519":
            guard fields.next()?.count == 32 else { throw broken }
        case "sk-ssh-ed25519@openssh.com":
            guard fields.next()?.count == 32, fields.next().map({ !$0.isEmpty }) == true else { throw broken }
        default:
            let curve = type.contains("nistp256") ? "nistp256" : String(type.suffix(8))
            let coordinate = ["nistp256": 32, "nistp384": 48, "nistp521": 66][curve] ?? 0
            guard fields.next() == Array(curve.utf8), let point = fields.next(), point.count == 1 + 2 * coordinate,
                point.first == 4
            else { throw broken }
            if type.hasPrefix("sk-"), fields.next().map({ !$0.isEmpty }) != true { throw broken }
        }
    }

    /// Strings with a length of four bytes in front (RFC 4251, 5).
    private struct Fields {
        private let bytes: [UInt8]
        private var position = 0

        init(_ bytes: [UInt8]) { self.bytes = bytes }

        var isAtEnd: Bool { position == bytes.count }

        mutating func next() -> [UInt8]? {
            guard bytes.count - position >= 4 else { return nil }
            let length = bytes[position..<position + 4].reduce(0) { $0 << 8 | Int($1) }
            guard length <= bytes.count - position - 4 else { return nil }
            defer { position += 4 + length }
            return Array(bytes[position + 4..<position + 4 + length])
        }

        /// Length of a positive number in its shortest form; nil for any other.
        static func bits(_ number: [UInt8]) -> Int? {
            guard let first = number.first, first < 128 else { return nil }
            if first == 0 {
                guard number.count > 1, number[1] >= 128 else { return nil }
                return (number.count - 1) * 8
            }
            return number.count * 8 - first.leadingZeroBitCount
        }
    }
}
