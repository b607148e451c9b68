import Domain
import Glibc
import OS

extension BuildDriver {
    /// The slug in the app's folder, without what was only there for the build.
    func finishTree() throws(BuildStop) {
        let folder = buildFolder
        checkLibraries()
        if !keepsGitFolder { try stopping { () throws(SystemError) in try Files.removeTree(folder + "/.git") } }
        let app = roots.app
        if !buildsInApp {
            try stopping { () throws(SystemError) in try FolderWalk.empty(app) }
            try move(folder, to: app)
        }
        try writeBill()
    }

    /// Which packages are in the slug.
    private func writeBill() throws(BuildStop) {
        let app = roots.app
        let name = platform["APP_NAME"] ?? "app"
        let bill = try stopping { () throws(SystemError) in
            try SoftwareBill(app: app, stack: request.stack, name: name)
        }
        for note in bill.notes { output.body(note) }
        try write(bill.document, "sbom.cdx.json")
    }

    /// configure scripts link whatever optional library they find, and this image has more of them than the one that runs.
    /// Advice, which costs no build.
    private func checkLibraries() {
        let check = LibraryCheck(runPackages: roots.runPackages, packageLists: roots.packageLists)
        let found: [LibraryCheck.Missing]
        do throws(SystemError) { found = try check.missing(in: buildFolder) } catch {
            output.warn("Which shared libraries are missing could not be looked up: \(error)")
            return
        }
        for missing in found {
            let wants =
                "\(Printable.line(missing.user)) needs \(Printable.line(missing.library)), which processes of the app will not find"
            if let package = missing.package {
                output.warn(
                    "\(wants); it is in the Debian package \(package): name that in an Aptfile, or build without it.")
            } else {
                output.warn("\(wants); neither the slug nor the stack has it.")
            }
        }
    }

    func sayDone() {
        output.title("Build finished")
        do throws(SystemError) {
            let sizes = (try FolderWalk.size(roots.app), try FolderWalk.size(roots.cache))
            output.body("\(Printable.size(sizes.0)) to pack, \(Printable.size(sizes.1)) kept for the next build")
        } catch {
            output.body("The sizes of the slug and the cache can't be told: \(error)")
        }
    }

    /// What buildpacks noted about what they fetched: lines `SHA256 URL`.
    func artifacts() throws(BuildStop) -> [BuildReport.Artifact] {
        let file = artifactsFile
        guard Files.exists(file) else { return [] }
        let bytes = try stopping { () throws(SystemError) in
            try OwnedFD.open(file, O_RDONLY | O_NOFOLLOW | O_NONBLOCK).readFully(1 << 20)
        }
        return ArtifactList.parse(bytes)
    }

    func writeReport() throws(BuildStop) {
        try write(report.document.encoded(), "build.json")
    }

    /// Writes a file of the result folder in one step.
    func write(_ bytes: some Collection<UInt8>, _ name: String) throws(BuildStop) {
        let path = "\(roots.result)/\(name)"
        try stopping { () throws(SystemError) in
            // A build may have left a link there.
            try Files.remove(path)
            let file = try OwnedFD.open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, mode: 0o644)
            try file.writeAll(bytes)
        }
    }

    func write(_ text: String, _ name: String) throws(BuildStop) { try write(Array(text.utf8), name) }
}

/// The notes of buildpacks about what they fetched. Pure.
enum ArtifactList {
    static let maximumCount = 5000

    /// Lines that are none are left out; of the same address and digest one stays.
    static func parse(_ bytes: [UInt8]) -> [BuildReport.Artifact] {
        var list: [BuildReport.Artifact] = []
        var seen: Set<BuildReport.Artifact> = []
        for line in bytes.split(separator: 10) {
            let parts = line.split(separator: 32, maxSplits: 1)
            guard parts.count == 2, list.count < maximumCount else { continue }
            let digest = String(decoding: parts[0], as: UTF8.self).lowercased()
            let text = String(decoding: parts[1], as: UTF8.self).trimmingWhitespace()
            guard digest.utf8.count == 64, GitObject.isHex(digest), !text.isEmpty, text.utf8.count <= 2048 else {
                continue
            }
            let artifact = BuildReport.Artifact(url: withoutUser(Printable.line(text)), sha256: digest)
            if seen.insert(artifact).inserted { list.append(artifact) }
        }
        return list
    }

    /// What stands between `://` and `@` goes.
    private static func withoutUser(_ url: String) -> String {
        guard let scheme = url.range(of: "://") else { return url }
        let authority = url[scheme.upperBound...].prefix { $0 != "/" && $0 != "?" && $0 != "#" }
        guard let at = authority.lastIndex(of: "@") else { return url }
        return String(url[..<scheme.upperBound]) + String(url[url.index(after: at)...])
    }
}

extension BuildReport {
    /// In the form that `Codable` gives it, without Foundation, which would make this program several times as large.
    var document: JSONValue {
        func object(_ members: [(String, String?)]) -> JSONValue {
            .object(members.compactMap { name, value in value.map { .init(name, .string($0)) } })
        }
        var members: [JSONValue.Member] = [
            .init(
                "buildpacks",
                .array(buildpacks.map { object([("name", $0.name), ("url", $0.url), ("commit", $0.commit)]) }))
        ]
        if let displayName { members.append(.init("displayName", .string(displayName))) }
        if let source {
            members.append(
                .init("source", object([("commit", source.commit), ("tree", source.tree), ("sha256", source.sha256)])))
        }
        members.append(.init("artifacts", .array(artifacts.map { object([("url", $0.url), ("sha256", $0.sha256)]) })))
        members.append(.init("detected", .bool(detected)))
        return .object(members)
    }
}
