import Domain
import Glibc
import OS

/// The buildpacks at hand: those of the app's list, and those in the same folder as a composite.
struct BuildpackCatalogue: Sendable, Hashable {
    struct Entry: Sendable, Hashable {
        var descriptor: BuildpackDescriptor
        /// Absolute path.
        var folder: String
        /// Which one of the list it came with.
        var origin: Int
    }

    /// How far below a composite's folder its components may lie, and how many folders are looked into.
    static let maximumDepth = 4
    static let maximumFolders = 2_000

    private(set) var entries: [Entry] = []
    /// The first entry of each folder of the list, which the app's list means.
    private(set) var roots: [Entry] = []
    /// Descriptions that can't be used; they count only if a group names what is missing then.
    private var broken: [String] = []

    init() {}

    /// - Parameter folders: absolute paths of buildpacks, as the app lists them.
    /// - Throws: `buildpackUnusable` if one of them has no description or one that can't be used.
    init(folders: [String]) throws(CNBFailure) {
        for (index, folder) in folders.enumerated() {
            let root = try Self.entry(folder, origin: index)
            guard let root else {
                throw CNBFailure(
                    .buildpackUnusable,
                    "The buildpack \(Self.shortName(folder)) has no buildpack.toml, so it is no Cloud Native Buildpack."
                )
            }
            add(root)
            roots.append(root)
            guard root.descriptor.isComposite else { continue }
            var left = Self.maximumFolders
            try addInside(folder, origin: index, depth: 1, left: &left)
        }
        try checkIdentifiers()
    }

    mutating func add(_ entry: Entry) {
        // Of two copies in one repository, such as in its tests, the one found first counts.
        if entries.contains(where: { $0.descriptor.words == entry.descriptor.words }) { return }
        entries.append(entry)
    }

    private mutating func addInside(_ folder: String, origin: Int, depth: Int, left: inout Int) throws(CNBFailure) {
        guard depth <= Self.maximumDepth else { return }
        let names = try onDisk { () throws(SystemError) in try Files.list(folder) }
        for name in names where !name.hasPrefix(".") && name != "node_modules" {
            let path = "\(folder)/\(name)"
            guard FileFacts(path)?.isFolder == true else { continue }
            left -= 1
            guard left > 0 else { return }
            do throws(CNBFailure) {
                if let found = try Self.entry(path, origin: origin) { add(found) }
            } catch {
                broken.append("\(Self.shortName(path)): \(error.message)")
            }
            try addInside(path, origin: origin, depth: depth + 1, left: &left)
        }
    }

    private static func entry(_ folder: String, origin: Int) throws(CNBFailure) -> Entry? {
        let path = folder + "/buildpack.toml"
        let bytes: [UInt8]?
        do throws(SystemError) {
            bytes = try Files.read(path, limit: TOMLDocument.maximumBytes)
        } catch {
            throw CNBFailure(.buildpackUnusable, "buildpack.toml of \(shortName(folder)) can't be read: \(error).")
        }
        guard let bytes else { return nil }
        let descriptor = try BuildpackDescriptor(bytes, name: "buildpack.toml of \(shortName(folder))")
        return Entry(descriptor: descriptor, folder: folder, origin: origin)
    }

    /// Two ids that differ in case alone would share a folder of layers on some file systems.
    private func checkIdentifiers() throws(CNBFailure) {
        var seen: [String: String] = [:]
        for entry in entries {
            let id = entry.descriptor.id
            if let other = seen.updateValue(id, forKey: id.lowercased()), other != id {
                throw CNBFailure(
                    .buildpackUnusable,
                    "The buildpacks \(other) and \(id) have ids that differ in case alone; rename one.")
            }
        }
    }

    /// The buildpack that a group names; the newest if no version is named.
    func find(_ reference: BuildpackDescriptor.Reference, wantedBy composite: String?) throws(CNBFailure) -> Entry {
        let same = entries.filter { $0.descriptor.id == reference.id }
        let found =
            reference.version.isEmpty
            ? same.max { Self.isOlder($0.descriptor.version, $1.descriptor.version) }
            : same.first { $0.descriptor.version == reference.version }
        if let found { return found }
        let by = composite.map { ", which the order of \($0) names," } ?? ""
        let there = same.map(\.descriptor.version).joined(separator: ", ")
        var details = entries.map { "at hand: \($0.descriptor.words)" }
        details += broken.map { "not usable: \($0)" }
        throw CNBFailure(
            .buildpackUnusable,
            "The buildpack \(reference.words)\(by) is not at hand\(there.isEmpty ? "" : " (only version \(there))"). Add its address to the app's buildpacks.",
            details: details)
    }

    static func isOlder(_ a: String, _ b: String) -> Bool {
        a.split(separator: ".").map { UInt64($0) ?? 0 }.lexicographicallyPrecedes(
            b.split(separator: ".").map { UInt64($0) ?? 0 })
    }

    private static func shortName(_ path: String) -> String {
        Names.quoted(path.split(separator: "/").suffix(2).joined(separator: "/"))
    }
}
