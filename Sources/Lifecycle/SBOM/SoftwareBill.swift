import Domain
import Glibc
import OS

/// A bill of materials of a finished slug, as CycloneDX 1.5: which packages of Debian, Python, npm, Go, Swift, Ruby and PHP
/// are in it, and what Cloud Native Buildpacks say is.
///
/// One walk over the tree, which is foreign: links are not followed, every file is read up to a limit, what can't be read is
/// passed over and counted. Equal trees give equal bytes: nothing of time or chance is in it, not even in the serial number.
public struct SoftwareBill: Sendable {
    /// Largest document, in bytes; what does not fit is left out, and said in it.
    public static let maximumBytes = 8 << 20
    /// Files and folders that are looked at.
    public static let maximumEntries = 2_000_000
    public static let maximumDepth = 100
    /// Of one list of packages, such as a package.json.
    static let maximumFileBytes = 4 << 20
    static let maximumComponents = 100_000

    /// UTF-8 JSON.
    public var document: [UInt8]
    /// How many packages are in it.
    public var count: Int
    /// What is missing in it and why, for the build's output; usually empty.
    public var notes: [String]

    /// - Parameters:
    ///   - app: absolute path of the finished tree.
    ///   - stack: name of the stack, for example `debian-13`.
    ///   - name: of the app.
    /// - Throws: a system call on the tree's root that failed; what fails below it is counted in `notes`.
    public init(app: String, stack: String, name: String) throws(SystemError) {
        var survey = SoftwareSurvey(root: app, stack: stack)
        try survey.walk()
        self.init(survey.components.map(\.value), stack: stack, name: name, notes: survey.notes)
    }

    init(_ components: [SoftwareComponent], stack: String, name: String, notes: [String]) {
        self.notes = notes
        var sorted = components.sorted { $0.key < $1.key }
        var entries = sorted.map { $0.document(reference: $0.key) }
        // Room for the frame around them.
        var size = 4_096 + entries.reduce(0) { $0 + $1.encoded().count + 1 }
        while size > Self.maximumBytes, let last = entries.popLast() {
            size -= last.encoded().count + 1
        }
        if entries.count < sorted.count {
            self.notes.append(
                "The bill of materials would be larger than \(Self.maximumBytes >> 20) MiB; \(sorted.count - entries.count) of \(sorted.count) packages are left out of it."
            )
            sorted.removeLast(sorted.count - entries.count)
        }
        count = sorted.count
        let unsigned = Self.frame(entries, stack: stack, name: name, notes: self.notes, serial: nil)
        let digest = SHA256.digest(of: unsigned.encoded())
        document = Self.frame(entries, stack: stack, name: name, notes: self.notes, serial: Self.serial(digest))
            .encoded()
    }

    private static func frame(
        _ entries: [JSONValue], stack: String, name: String, notes: [String], serial: String?
    ) -> JSONValue {
        func object(_ members: [(String, JSONValue)]) -> JSONValue { .object(members.map { .init($0, $1) }) }
        let system = object([
            ("type", .string("operating-system")), ("bom-ref", .string("stack")), ("name", .string(stack)),
        ])
        let app = object([
            ("type", .string("application")), ("bom-ref", .string("slug")), ("name", .string(name)),
            ("components", .array([system])),
        ])
        let tool = object([("type", .string("application")), ("name", .string("slipway"))])
        var metadata: [(String, JSONValue)] = [
            ("tools", object([("components", .array([tool]))])), ("component", app),
        ]
        if !notes.isEmpty {
            metadata.append(
                (
                    "properties",
                    .array(notes.map { object([("name", .string("slipway:incomplete")), ("value", .string($0))]) })
                ))
        }
        var members: [(String, JSONValue)] = [("bomFormat", .string("CycloneDX")), ("specVersion", .string("1.5"))]
        if let serial { members.append(("serialNumber", .string(serial))) }
        members += [("version", .integer(1)), ("metadata", object(metadata)), ("components", .array(entries))]
        return object(members)
    }

    /// A UUID of version 8, which is made of whatever its maker likes (RFC 9562): here of the content's digest.
    private static func serial(_ digest: [UInt8]) -> String {
        var bytes = Array(digest.prefix(16))
        bytes[6] = bytes[6] & 0x0F | 0x80
        bytes[8] = bytes[8] & 0x3F | 0x80
        let hex = bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }
        let groups = [0..<4, 4..<6, 6..<8, 8..<10, 10..<16].map { hex[$0].joined() }
        return "urn:uuid:" + groups.joined(separator: "-")
    }
}
