/// The rules for addresses of sources and buildpacks that callers give.
///
/// Such an address is stored with the build and shown to whoever may see the app, so one with a password in it is refused.
public enum SourceURL {
    /// Length of one address.
    public static let maximumBytes = 1024

    /// A git repository: `https://HOST/PATH`, `http://…`, `ssh://[USER@]HOST/PATH` or `[USER@]HOST:PATH`.
    /// - Parameter field: its name in the request, for the error.
    /// - Throws: `invalid`, without the address itself where that holds a password.
    public static func validateGit(_ url: String, field: String) throws(PaaSError) {
        let parts = try parts(url, field)
        guard parts.scheme != "file" else {
            throw refused(field, "is a path of a machine; give an address that builds can reach: https, http or ssh")
        }
        guard !parts.path.contains("?"), !parts.path.contains("#") else {
            throw refused(field, "must be the address of the repository alone; a branch, tag or commit goes into ref")
        }
    }

    /// A buildpack: the same forms, or an archive by `https` or `http`, or `file:///FOLDER`; each with `#REF` or without, and
    /// without a query.
    /// - Throws: as `validateGit`.
    public static func validateBuildpack(_ url: String, field: String) throws(PaaSError) {
        let path = try parts(url, field).path
        guard !path.prefix(while: { $0 != "#" }).contains("?") else {
            throw refused(
                field,
                "has a query, which would be stored and shown; put such an address into the config var BUILDPACK_URL")
        }
    }

    /// The same address without user name, password and query, which may be a signature; for text of others that is to be
    /// stored or shown. The user name of an ssh address stays, for it is part of the address, and what follows a `#` does.
    public static func withoutCredentials(_ url: some StringProtocol) -> String {
        let address = url.prefix { $0 != "#" }
        return withoutUser(address.prefix { $0 != "?" } + String(url[address.endIndex...]))
    }

    private static func withoutUser(_ url: String) -> String {
        guard let separator = separator(url) else {
            // `user:password@host/…`, as for a tool that puts the scheme in front by itself.
            let head = url.prefix { $0 != "/" }
            guard let at = head.lastIndex(of: "@"), head[..<at].contains(":") else { return String(url) }
            return String(url[url.index(after: at)...])
        }
        let rest = url[separator...].dropFirst(3)
        let authority = rest.prefix { $0 != "/" && $0 != "?" && $0 != "#" }
        guard let at = authority.lastIndex(of: "@") else { return String(url) }
        let user = authority[..<at]
        if url[..<separator].lowercased() == "ssh", !user.contains(":") { return String(url) }
        return String(url[..<separator]) + "://" + rest[rest.index(after: at)...]
    }

    private struct Parts {
        /// In lower case; `ssh` for `HOST:PATH`.
        var scheme: String
        var path: Substring
    }

    private static func separator(_ url: some StringProtocol) -> String.Index? {
        guard let colon = url.firstIndex(of: ":"), url[colon...].hasPrefix("://"),
            url[..<colon].allSatisfy({ $0.isASCII && ($0.isLetter || $0.isNumber || "+-.".contains($0)) })
        else { return nil }
        return colon
    }

    private static func parts(_ url: String, _ field: String) throws(PaaSError) -> Parts {
        guard url.utf8.count <= maximumBytes else { throw refused(field, "may have at most \(maximumBytes) bytes") }
        guard !url.isEmpty, !url.hasPrefix("-"), url.utf8.allSatisfy({ $0 > 32 && $0 < 127 }) else {
            throw refused(field, "must be an address without spaces and of plain characters; write others as %XX")
        }
        guard let separator = separator(url) else { return try shortForm(url, field) }
        let scheme = url[..<separator].lowercased()
        guard ["https", "http", "ssh", "file"].contains(scheme) else {
            throw refused(field, "must begin with https://, http:// or ssh://, or be HOST:PATH")
        }
        let rest = url[separator...].dropFirst(3)
        let authority = rest.prefix { $0 != "/" && $0 != "?" && $0 != "#" }
        let path = rest.dropFirst(authority.count)
        if scheme == "file" {
            guard authority.isEmpty, path.count > 1, !path.split(separator: "/").contains("..") else {
                throw refused(field, "must be file:/// and an absolute path without '..'")
            }
            return Parts(scheme: scheme, path: path)
        }
        var host = authority
        if let at = authority.lastIndex(of: "@") {
            let user = authority[..<at]
            guard scheme == "ssh", !user.contains(":") else { throw credentials(field) }
            try check(user: user, field)
            host = authority[authority.index(after: at)...]
        }
        try check(host: host, field)
        guard path.count > 1, path.hasPrefix("/") else { throw refused(field, "names a host, but nothing on it") }
        return Parts(scheme: scheme, path: path)
    }

    /// `[USER@]HOST:PATH`, as ssh and git write it.
    private static func shortForm(_ url: String, _ field: String) throws(PaaSError) -> Parts {
        guard let colon = url.firstIndex(of: ":"), !url[..<colon].contains("/") else {
            throw refused(field, "must begin with https://, http:// or ssh://, or be HOST:PATH")
        }
        let path = url[url.index(after: colon)...]
        // The @ of `user:password@host` comes behind the first colon.
        guard !path.prefix(while: { $0 != "/" }).contains("@") else { throw credentials(field) }
        var host = url[..<colon]
        if let at = host.lastIndex(of: "@") {
            try check(user: host[..<at], field)
            host = host[host.index(after: at)...]
        }
        guard !host.contains("[") else { throw refused(field, "must be ssh://[ADDRESS]/PATH for an IPv6 address") }
        try check(host: host, field)
        // `NAME::…` has git run a program of that name.
        guard !path.isEmpty, !path.hasPrefix("-"), !path.hasPrefix(":") else {
            throw refused(field, "names a host, but nothing on it")
        }
        return Parts(scheme: "ssh", path: path)
    }

    /// What can't be taken for an option by the programs that get it.
    private static func check(host: Substring, _ field: String) throws(PaaSError) {
        let isClean = host.allSatisfy { $0.isASCII && ($0.isLetter || $0.isNumber || ".-_:[]".contains($0)) }
        guard isClean, let first = host.first, first != "-", first != ":" else { throw refused(field, "names no host") }
    }

    private static func check(user: Substring, _ field: String) throws(PaaSError) {
        let isClean = user.allSatisfy { $0.isASCII && ($0.isLetter || $0.isNumber || ".-_".contains($0)) }
        guard isClean, let first = user.first, first != "-" else {
            throw refused(field, "has a user name with characters that are not allowed")
        }
    }

    private static func credentials(_ field: String) -> PaaSError {
        refused(
            field,
            "holds a user name or a password, which would be stored with the build; give it without, and push the source with git or upload it (builds create --tar) where it is not public"
        )
    }

    private static func refused(_ field: String, _ reason: String) -> PaaSError {
        PaaSError(.invalid, "\(field) \(reason)", invalidParameters: [.init(name: field, reason: reason)])
    }
}
