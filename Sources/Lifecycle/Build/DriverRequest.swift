import Domain

/// What paasd asks for, from the environment of the build container's main process. No secret is in it but user name and
/// password of a source's address.
struct DriverRequest: Sendable, Hashable {
    enum Source: Sendable, Hashable {
        /// The platform has put it into the app's folder.
        case present
        case git(url: String, ref: String?)
        /// `source.tar` in the folder for temporary files, compressed or not.
        case tar
    }

    /// A folder of the source that is a commit of another repository.
    struct Submodule: Sendable, Hashable {
        var path: String
        /// 40 hexadecimal digits.
        var commit: String
    }

    /// Name of the stack.
    var stack: String
    /// Commit; nil if the source has none.
    var sourceVersion: String?
    /// Id of the build, safe as a part of a file name.
    var requestID: String
    /// The app's list; nil: not set.
    var buildpacks: String?
    var source: Source
    var submodules: [Submodule]
    /// Folders of the operator below which `file://` buildpacks may lie.
    var buildpackFolders: [String]
    /// Largest source, in bytes of its files.
    var checkoutLimit: Int64
    /// The container reaches nothing but itself.
    var isOffline: Bool

    /// - Throws: `environmentIncomplete` naming the variable that is missing or can't be read.
    init(environment: [String: String]) throws(BuildStop) {
        func text(_ name: String) -> String? { environment[name].flatMap { $0.isEmpty ? nil : $0 } }
        guard let stack = text("STACK") else { throw BuildStop(.environmentIncomplete, "STACK is not set.") }
        self.stack = stack
        sourceVersion = text("SOURCE_VERSION")
        let id = (text("REQUEST_ID") ?? "").utf8.filter { Self.isNamePart($0) }.prefix(64)
        requestID = id.isEmpty ? "build" : String(decoding: Array(id), as: UTF8.self)
        buildpacks = text("PAAS_BUILDPACKS")
        source = try text("PAAS_SOURCE").map { value throws(BuildStop) in try Self.source(value) } ?? .present
        submodules = try text("PAAS_SUBMODULES").map { value throws(BuildStop) in try Self.submodules(value) } ?? []
        buildpackFolders = (text("PAAS_BUILDPACK_DIRS") ?? "").split(separator: ":").map(String.init)
        isOffline = text("PAAS_NETWORK") == "none"
        if let limit = text("PAAS_CHECKOUT_LIMIT_BYTES") {
            guard let bytes = Int64(limit), bytes > 0 else {
                throw BuildStop(.environmentIncomplete, "PAAS_CHECKOUT_LIMIT_BYTES is no number of bytes.")
            }
            checkoutLimit = bytes
        } else {
            checkoutLimit = 1 << 30
        }
    }

    private static func source(_ value: String) throws(BuildStop) -> Source {
        let json = try parse(value, "PAAS_SOURCE")
        switch json["kind"]?.stringValue {
        case "git":
            guard let url = json["url"]?.stringValue else { break }
            let ref = json["ref"]?.stringValue
            return .git(url: url, ref: ref.flatMap { $0.isEmpty ? nil : $0 })
        case "tar": return .tar
        default: break
        }
        throw BuildStop(.environmentIncomplete, "PAAS_SOURCE is not of a kind that this platform knows.")
    }

    private static func submodules(_ value: String) throws(BuildStop) -> [Submodule] {
        let json = try parse(value, "PAAS_SUBMODULES")
        var list: [Submodule] = []
        for entry in json.arrayValue ?? [] {
            guard let path = entry["path"]?.stringValue, let commit = entry["commit"]?.stringValue,
                GitObject.isID(commit)
            else {
                throw BuildStop(.environmentIncomplete, "PAAS_SUBMODULES has an entry without path or commit.")
            }
            list.append(Submodule(path: path, commit: commit))
        }
        return list
    }

    private static func parse(_ value: String, _ name: String) throws(BuildStop) -> JSONValue {
        do throws(PaaSError) {
            return try JSONParser.parse(Array(value.utf8))
        } catch {
            throw BuildStop(.environmentIncomplete, "\(name): \(error.message)")
        }
    }

    private static func isNamePart(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"):
            true
        default: false
        }
    }
}

/// Names of git's objects.
enum GitObject {
    /// A whole SHA-1 in hexadecimal.
    static func isID(_ text: some StringProtocol) -> Bool { text.utf8.count == 40 && isHex(text) }

    static func isHex(_ text: some StringProtocol) -> Bool {
        text.utf8.allSatisfy { byte in
            (byte >= UInt8(ascii: "0") && byte <= UInt8(ascii: "9"))
                || (byte >= UInt8(ascii: "a") && byte <= UInt8(ascii: "f"))
        }
    }
}
