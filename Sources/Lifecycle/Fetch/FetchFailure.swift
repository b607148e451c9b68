import Domain
import OS

/// Why something could not be had over the network: one case for each thing that somebody can do about it.
enum FetchFailure: Error, Sendable, Hashable {
    case noNetwork
    case unknownHost
    case refused
    case timeout(seconds: Int)
    case tls(String)
    case notFound
    case denied
    /// Its server sends elsewhere.
    case moved
    case status(Int)
    case refNotFound(String)
    /// An abbreviated commit, which no server can look up.
    case shortCommit(String)
    case sha256Repository
    case tooLarge(limit: Int64)
    case diskFull
    /// The words of the program, without secrets.
    case other(String)

    /// The end of a sentence that begins with the address.
    var reason: String {
        switch self {
        case .noNetwork: "can't be reached: this build has no network (BUILD_NETWORK=none)"
        case .unknownHost: "can't be reached: its host name does not resolve from this platform"
        case .refused: "can't be reached: its host refuses the connection"
        case .timeout(let seconds): "did not answer in time (\(seconds) s)"
        case .tls(let words): "has no certificate that this platform trusts (\(words))"
        case .notFound: "is not there (404); for a private one give user and token in the address: https://user:token@…"
        case .denied: "wants another user name and password than it got"
        case .moved: "was moved; an address with a user name is not followed elsewhere, write the new one"
        case .status(let code): "answered with HTTP status \(code)"
        case .refNotFound(let ref): "has no branch or tag \(Names.quoted(ref))"
        case .shortCommit(let id):
            "has no branch or tag \(Names.quoted(id)); a commit must be written with all its 40 digits"
        case .sha256Repository: "is a repository with SHA-256 object names, which can't be fetched here"
        case .tooLarge(let limit): "is larger than the \(Printable.size(limit)) that are allowed"
        case .diskFull: "does not fit: the build volume is full"
        case .other(let words): "can't be fetched: \(words)"
        }
    }

    /// From what `git` printed, with LC_ALL=C.
    /// - Parameters:
    ///   - address: what it was asked for, which may hold any word.
    ///   - slowSeconds: after how long a transfer that stands still was given up.
    static func git(_ text: String, secrets: [String], address: String = "", slowSeconds: Int = 30) -> FetchFailure {
        let lower = words(of: text, without: [address]).lowercased()
        func says(_ words: String...) -> Bool { words.contains { lower.contains($0) } }
        if says(
            "could not resolve host", "could not resolve proxy", "name or service not known",
            "temporary failure in name")
        {
            return .unknownHost
        }
        if says("no space left on device", "disk quota exceeded") { return .diskFull }
        if says("certificate", "ssl_", "gnutls", "ssl routines", "ssl connect") { return .tls(lastLine(text, secrets)) }
        if says("returned error: 404", "not found", "does not exist") { return .notFound }
        if says(
            "authentication failed", "could not read username", "could not read password", "permission denied",
            "terminal prompts disabled", "returned error: 401", "returned error: 403", "host key verification failed")
        {
            return .denied
        }
        if says("timed out", "timeout was reached", "operation too slow") { return .timeout(seconds: slowSeconds) }
        if says(
            "connection refused", "failed to connect", "couldn't connect", "no route to host", "network is unreachable")
        {
            return .refused
        }
        if says("mismatched algorithms", "object format") { return .sha256Repository }
        if says("unable to update url base from redirection") { return .moved }
        if let range = lower.range(of: "returned error: "), let code = Int(lower[range.upperBound...].prefix(3)) {
            return (300..<400).contains(code) ? .moved : .status(code)
        }
        return .other(lastLine(text, secrets))
    }

    /// From curl's exit code and the HTTP status that it saw.
    static func curl(_ status: Int32, http: Int, text: String, seconds: Int, limit: Int64, secrets: [String])
        -> FetchFailure
    {
        switch (status, http) {
        case (_, 404), (_, 410): .notFound
        case (_, 401), (_, 403), (_, 407): .denied
        case (22, _) where http > 0: .status(http)
        case (5, _), (6, _): .unknownHost
        case (7, _): .refused
        case (28, _): .timeout(seconds: seconds)
        case (35, _), (51, _), (58, _), (60, _), (77, _), (83, _), (90, _), (91, _): .tls(lastLine(text, secrets))
        case (63, _), (128 + 25 /* SIGXFSZ */, _): .tooLarge(limit: limit)
        default: text.contains("No space left") ? .diskFull : .other(lastLine(text, secrets))
        }
    }

    private static func lastLine(_ text: String, _ secrets: [String]) -> String {
        let line = Printable.lastLines(Array(text.utf8), count: 1).first ?? "no reason given"
        return redact(line, secrets)
    }

    /// What a program said, without words that others chose: these parts, and every address in it.
    static func words(of text: String, without parts: [String]) -> String {
        var text = text
        for part in parts { text = text.replacing(part, with: "") }
        var out = ""
        for line in text.split(omittingEmptySubsequences: false, whereSeparator: \.isNewline) {
            let words = line.split(omittingEmptySubsequences: false) { $0 == " " || $0 == "'" || $0 == "\"" }
            out += words.filter { $0.range(of: "://") == nil }.joined(separator: " ") + "\n"
        }
        return out
    }

    /// Each secret as `***`, and what stands between `://` and `@` in any address.
    static func redact(_ text: String, _ secrets: [String]) -> String {
        var out = text
        for secret in secrets.sorted(by: { $0.count > $1.count }) { out = out.replacing(secret, with: "***") }
        return out
    }
}

extension String {
    fileprivate func replacing(_ part: String, with other: String) -> String {
        guard !part.isEmpty else { return self }
        var out = ""
        var rest = self[...]
        while let found = rest.range(of: part) {
            out += rest[..<found.lowerBound] + other
            rest = rest[found.upperBound...]
        }
        return out + rest
    }
}

extension StringProtocol {
    /// The first place of `part`; without Foundation. Compares bytes.
    func range(of part: String) -> Range<Index>? {
        let wanted = Array(part.utf8)
        guard !wanted.isEmpty else { return nil }
        var start = utf8.startIndex
        while start != utf8.endIndex {
            var at = start
            var count = 0
            while count < wanted.count, at != utf8.endIndex, utf8[at] == wanted[count] {
                count += 1
                at = utf8.index(after: at)
            }
            if count == wanted.count { return start..<at }
            start = utf8.index(after: start)
        }
        return nil
    }
}
