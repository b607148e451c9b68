import Domain

/// One buildpack as somebody named it.
enum WantedBuildpack: Sendable, Hashable {
    /// Of the platform, by the name of its folder. `alias`: another platform's name that it was given by.
    case platform(name: String, alias: String?)
    /// `ref`: branch, tag or full commit; nil: what the repository's HEAD points to.
    case git(FetchURL, ref: String?)
    case archive(FetchURL)
    /// An absolute path in the container, below one of the operator's folders.
    case folder(String)
    /// A folder of the source itself, which only `project.toml` can name.
    case inSource(String)

    /// Names under which public guides and manifests know buildpacks that do what ours do.
    static let aliases: [String: String] = [
        "heroku/python": "python", "heroku/nodejs": "node", "heroku/go": "go", "heroku/ruby": "ruby",
        "heroku/php": "php", "heroku/procfile": "procfile", "heroku-community/apt": "apt",
        "heroku-community/static": "static",
    ]

    /// - Parameter known: names of the platform's buildpacks.
    /// - Throws: `buildpackUnusable`, saying what may be named.
    init(_ text: String, known: [String]) throws(BuildStop) {
        if text.hasPrefix("/") || text.lowercased().hasPrefix("file:") {
            self = .folder(try Self.folder(text))
            return
        }
        if !text.contains(":") && !text.contains("@") {
            self = try Self.named(text, known: known)
            return
        }
        let url: FetchURL
        do throws(FetchURL.Fault) { url = try FetchURL(text) } catch {
            throw BuildStop(
                .buildpackUnusable, "The buildpack address \(Self.shown(text)) \(error.reason).",
                "Name a git repository (https://host/path.git#ref), a tarball (https://host/path.tgz) or one of: \(known.joined(separator: " "))"
            )
        }
        guard url.isArchive else {
            if let ref = url.fragment, !GitRef.isAllowed(ref) {
                throw BuildStop(
                    .buildpackUnusable,
                    "The buildpack \(url.printable) is wanted at \(Names.quoted(ref)), which can't be the name of a branch or tag."
                )
            }
            do throws(FetchURL.Fault) { try url.checkForGit() } catch {
                throw BuildStop(.buildpackUnusable, "The buildpack address \(url.printable) \(error.reason).")
            }
            self = .git(url, ref: url.fragment)
            return
        }
        guard url.fragment == nil else {
            throw BuildStop(
                .buildpackUnusable,
                "The buildpack \(url.printable) is a tarball and has no refs; leave #\(Printable.line(url.fragment ?? "")) out."
            )
        }
        self = .archive(url)
    }

    private static func named(_ text: String, known: [String]) throws(BuildStop) -> WantedBuildpack {
        var name = text
        if name.hasPrefix("slipway/") { name.removeFirst("slipway/".count) }
        if known.contains(name) { return .platform(name: name, alias: nil) }
        if let ours = aliases[text] {
            if known.contains(ours) { return .platform(name: ours, alias: text) }
        } else if text.hasPrefix("heroku/") || text.hasPrefix("heroku-community/")
            || text.hasPrefix("paketo-buildpacks/")
        {
            throw BuildStop(
                .buildpackUnusable,
                "The buildpack \(Names.quoted(text)) belongs to another platform, and none of ours does the same.",
                "Give its git address instead (https://host/path.git#ref), or one of: \(known.joined(separator: " "))")
        }
        throw BuildStop(
            .buildpackUnusable, "The buildpack \(Names.quoted(text)) is not known.",
            "Known are: \(known.joined(separator: " "))",
            "Change the list: paasctl buildpacks set NAME …, or let it be found: paasctl buildpacks clear")
    }

    private static func folder(_ text: String) throws(BuildStop) -> String {
        var path = text[...]
        if text.lowercased().hasPrefix("file:") {
            path = path.dropFirst("file:".count)
            if path.lowercased().hasPrefix("//localhost/") { path = path.dropFirst("//localhost".count) }
            if path.hasPrefix("//") { path = path.dropFirst(2) }
        }
        guard path.hasPrefix("/"), !path.contains("#"),
            !path.split(separator: "/").contains(where: { $0 == ".." || $0 == "." }),
            path.unicodeScalars.allSatisfy({ $0.value >= 32 && $0.value != 127 }), path.utf8.count <= 1024
        else {
            throw BuildStop(
                .buildpackUnusable,
                "The buildpack \(Names.quoted(text)) must be an absolute path as in file:///srv/buildpacks/name, without '..' and #ref."
            )
        }
        return String(path)
    }

    /// An address that can't be read may still hold a password.
    private static func shown(_ text: String) -> String {
        guard let at = text.lastIndex(of: "@") else { return Names.quoted(text) }
        return Names.quoted("…" + text[at...])
    }

    /// How it is named in the log: without secrets.
    var printable: String {
        switch self {
        case .platform(let name, _): name
        case .git(let url, let ref): url.printable + (ref.map { "#\(Printable.line($0))" } ?? "")
        case .archive(let url): url.printable
        case .folder(let path): "file://" + Printable.line(path)
        case .inSource(let path): Printable.line(path)
        }
    }

    /// A short name: of the platform's buildpack, or the last part of the address.
    var name: String {
        let path: String
        switch self {
        case .platform(let name, _): return name
        case .git(let url, _), .archive(let url): path = url.path
        case .folder(let folder), .inSource(let folder): path = folder
        }
        var name = String(path.split(whereSeparator: { $0 == "/" || $0 == ":" }).last ?? "buildpack")
        for ending in [".git"] + FetchURL.archiveEndings.sorted(by: { $0.count > $1.count })
        where name.hasSuffix(ending) {
            name.removeLast(ending.count)
            break
        }
        let printable = Printable.line(name)
        return printable.isEmpty ? "buildpack" : String(printable.prefix(60))
    }
}

/// Names of branches and tags, as git allows them.
enum GitRef {
    static func isAllowed(_ ref: String) -> Bool {
        guard !ref.isEmpty, ref.utf8.count <= 255, ref != "@", !ref.hasPrefix("-"), !ref.hasPrefix("/"),
            !ref.hasSuffix("/"),
            !ref.hasSuffix("."), !ref.contains(".."), !ref.contains("//"), !ref.contains("@{"),
            ref.unicodeScalars.allSatisfy({
                $0.value > 32 && $0.value != 127 && !"~^:?*[\\".unicodeScalars.contains($0)
            })
        else { return false }
        return ref.split(separator: "/").allSatisfy { !$0.hasPrefix(".") && !$0.hasSuffix(".lock") }
    }
}
