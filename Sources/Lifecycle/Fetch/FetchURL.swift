import Domain

/// An address that a user named: where from, with which name and password, and how it may be printed.
struct FetchURL: Sendable, Hashable {
    enum Scheme: String, Sendable { case https, http, ssh }

    /// What is wrong with an address, as the end of a sentence: `is not …`.
    struct Fault: Error, Sendable, Hashable {
        var reason: String
    }

    static let maximumBytes = 2048

    var scheme: Scheme
    /// Decoded; for ssh the name to log in with.
    var user: String?
    var password: String?
    /// With its port, if any.
    var host: String
    /// From the first `/` on, without query.
    var path: String
    var query: String?
    /// After `#`.
    var fragment: String?
    /// `host:path`, as git's own short form of ssh.
    var isShortSSH = false

    /// - Throws: `Fault`.
    init(_ text: String) throws(Fault) {
        guard text.utf8.count <= Self.maximumBytes else {
            throw Fault(reason: "is longer than \(Self.maximumBytes) bytes")
        }
        guard text.unicodeScalars.allSatisfy({ $0.value > 32 && $0.value != 127 }) else {
            throw Fault(reason: "holds white space or control characters")
        }
        let parts = text.split(separator: "#", maxSplits: 1, omittingEmptySubsequences: false)
        let fragment = parts.count > 1 && !parts[1].isEmpty ? String(parts[1]) : nil
        if let separator = parts[0].range(of: "://") {
            try self.init(
                scheme: parts[0][..<separator.lowerBound].lowercased(), rest: parts[0][separator.upperBound...],
                fragment: fragment)
        } else {
            try self.init(short: parts[0], fragment: fragment)
        }
    }

    /// What follows `://`.
    private init(scheme name: String, rest text: Substring, fragment: String?) throws(Fault) {
        guard let known = Scheme(rawValue: name) else { throw Fault(reason: Self.refusal(of: name)) }
        scheme = known
        self.fragment = fragment
        var rest = text
        let authority = rest.prefix { $0 != "/" && $0 != "?" }
        rest = rest[authority.endIndex...]
        if let question = rest.firstIndex(of: "?") {
            query = String(rest[rest.index(after: question)...])
            rest = rest[..<question]
        }
        path = rest.isEmpty ? "/" : String(rest)
        if let at = authority.lastIndex(of: "@") {
            host = String(authority[authority.index(after: at)...])
            let parts = authority[..<at].split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
            user = try Self.decoded(parts[0])
            if parts.count > 1 { password = try Self.decoded(parts[1]) }
        } else {
            host = String(authority)
        }
        try Self.check(host: host)
    }

    /// `user@host:path`
    private init(short text: Substring, fragment: String?) throws(Fault) {
        guard let colon = text.firstIndex(of: ":"), !text[..<colon].contains("/") else {
            throw Fault(reason: "is no address: it must begin with https://, http:// or ssh://")
        }
        var head = text[..<colon]
        scheme = .ssh
        isShortSSH = true
        if let at = head.lastIndex(of: "@") {
            user = String(head[..<at])
            guard user?.hasPrefix("-") == false else { throw Fault(reason: "has a user name that begins with -") }
            head = head[head.index(after: at)...]
        }
        guard user != nil else { throw Fault(reason: Self.refusal(of: head.lowercased())) }
        host = String(head)
        path = String(text[text.index(after: colon)...])
        self.fragment = fragment
        guard !path.isEmpty, !path.hasPrefix("-") else { throw Fault(reason: "has no path") }
        try Self.check(host: host)
    }

    private static func check(host: String) throws(Fault) {
        let isAllowed = host.utf8.allSatisfy { byte in
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "."), UInt8(ascii: "-"), UInt8(ascii: "_"),
                UInt8(ascii: ":"), UInt8(ascii: "["), UInt8(ascii: "]"):
                true
            default: false
            }
        }
        guard !host.isEmpty, isAllowed, !host.hasPrefix("-"), !host.hasPrefix(":") else {
            throw Fault(reason: "names no host")
        }
    }

    private static func refusal(of scheme: String) -> String {
        switch scheme {
        case "git": "uses git://, which neither encrypts nor proves anything; use https://"
        case "urn", "cnb", "docker":
            "names a buildpack in a registry of images; only git addresses, tarballs and the platform's own names can be used"
        case "ext", "fd": "uses a transport that runs commands; use https://"
        default: "is neither https://, http:// nor ssh://"
        }
    }

    private static func decoded(_ text: Substring) throws(Fault) -> String {
        var out: [UInt8] = []
        var bytes = Array(text.utf8)[...]
        while let byte = bytes.popFirst() {
            guard byte == UInt8(ascii: "%") else {
                out.append(byte)
                continue
            }
            guard let value = UInt8(String(decoding: bytes.prefix(2), as: UTF8.self), radix: 16), bytes.count >= 2,
                value >= 32, value != 127
            else { throw Fault(reason: "has a user name or password that is not encoded as in %40") }
            bytes = bytes.dropFirst(2)
            out.append(value)
        }
        return String(decoding: out, as: UTF8.self)
    }

    /// git puts names of its own behind an address, so that a query would swallow them.
    /// - Throws: `Fault` for an address with a query.
    func checkForGit() throws(Fault) {
        if query != nil { throw Fault(reason: "has a query; give the token as user name") }
    }

    /// For programs: without password, and without user name where it belongs to a password.
    var withoutSecrets: String {
        let name = scheme == .ssh ? user.map { $0 + "@" } ?? "" : ""
        if isShortSSH { return "\(name)\(host):\(path)" }
        return "\(scheme.rawValue)://\(name)\(host)\(path)\(query.map { "?" + $0 } ?? "")"
    }

    /// For logs and reports: also without the query, which may hold a token.
    var printable: String {
        var copy = self
        copy.query = query == nil ? nil : "…"
        return Printable.line(copy.withoutSecrets)
    }

    /// What must not appear in any output.
    var secrets: [String] {
        [password, password == nil && scheme != .ssh ? user : nil, query].compactMap { $0 }.filter { !$0.isEmpty }
    }

    /// `Basic …` for HTTP; nil if the address names nobody.
    var authorization: String? {
        guard scheme != .ssh, let user else { return nil }
        return "Basic " + Base64.encode(Array("\(user):\(password ?? "")".utf8))
    }

    /// The endings of archives that `bsdtar` reads.
    static let archiveEndings = [
        ".tgz", ".tar.gz", ".tbz", ".tbz2", ".tar.bz2", ".tar", ".txz", ".tar.xz", ".tar.zst", ".tzst",
    ]

    var isArchive: Bool {
        let name = path.lowercased()
        return scheme != .ssh && Self.archiveEndings.contains { name.hasSuffix($0) }
    }
}

enum Base64 {
    static func encode(_ bytes: [UInt8]) -> String {
        let digits = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".utf8)
        var out: [UInt8] = []
        for start in stride(from: 0, to: bytes.count, by: 3) {
            let part = bytes[start..<min(start + 3, bytes.count)]
            var value = 0
            for index in 0..<3 { value = value << 8 | (index < part.count ? Int(part[start + index]) : 0) }
            for index in 0..<4 {
                let digit = digits[value >> (18 - 6 * index) & 63]
                out.append(index <= part.count ? digit : UInt8(ascii: "="))
            }
        }
        return String(decoding: out, as: UTF8.self)
    }
}
