import Domain
import OS

/// A layer as its buildpack left it.
struct BuiltLayer: Sendable {
    /// Names of the contract's own files in a folder of layers.
    static let forbidden: Set<String> = ["build", "launch", "store"]

    var buildpack: BuildpackDescriptor
    var name: String
    var metadata: LayerMetadata
    /// Of its folder; nil if the buildpack left none.
    var content: String?
    var bills: [SBOMFormat: String]

    /// Everything that a buildpack left in its folder of layers.
    struct Harvest {
        /// Declared layers, sorted by name.
        var layers: [BuiltLayer] = []
        /// Of what is in the slug and in no layer.
        var launchBills: [SBOMFormat: String] = [:]
        var launch = LaunchFile()
        /// Names of plan entries that the buildpack left to others.
        var unmet: [String] = []
        /// Nil if there is no `store.toml`.
        var store: TOMLMap?
        var warnings: [String] = []
    }

    /// Reads and checks it; renames folders of layers that were not declared, so that nothing comes to depend on them.
    /// - Parameters:
    ///   - folder: the buildpack's folder of layers.
    ///   - plan: what the buildpack was asked for.
    ///   - environment: the execution environment.
    /// - Throws: `compileFailed` naming buildpack, file and rule.
    static func harvest(
        _ folder: String, of buildpack: BuildpackDescriptor, plan: [BuildPlan.Requirement], environment: String
    ) throws(CNBFailure) -> Harvest {
        var harvest = Harvest()
        func broken(_ what: String) -> CNBFailure {
            CNBFailure(.compileFailed, "The buildpack \(buildpack.words) left something that can't be used: \(what).")
        }
        let names = try onDisk { () throws(SystemError) in try Files.list(folder) }
        let folders = names.filter { FileFacts("\(folder)/\($0)")?.isFolder == true }
        if let name = folders.first(where: forbidden.contains) {
            throw broken("a layer must not be named \(name), nor any of \(forbidden.sorted().joined(separator: ", "))")
        }
        do throws(TOMLFailure) {
            for name in LayerCache.layerNames(names) {
                guard let root = try TOMLDocument.read("\(folder)/\(name).toml", "\(name).toml") else { continue }
                var metadata = try LayerMetadata(root)
                for key in metadata.misplaced {
                    harvest.warnings.append("\(name).toml: \"\(key)\" counts only under [types]; it is ignored.")
                }
                if buildpack.api >= BuildpackAPI(0, 12),
                    !BuildpackDescriptor.matches(try metadata.executionEnvironments(), environment)
                {
                    metadata.launch = false
                    metadata.build = false
                }
                harvest.layers.append(
                    BuiltLayer(
                        buildpack: buildpack, name: name, metadata: metadata,
                        content: folders.contains(name) ? "\(folder)/\(name)" : nil, bills: [:]))
            }
            if let root = try TOMLDocument.read("\(folder)/launch.toml", "launch.toml") {
                harvest.launch = try LaunchFile(root, buildpack: buildpack.id)
            }
            if let root = try TOMLDocument.read("\(folder)/build.toml", "build.toml") {
                for entry in try root.sections("unmet") {
                    let name = try entry.requiredString("name")
                    guard plan.contains(where: { $0.name == name }) else {
                        throw entry.fail("name", "is \(Names.quoted(name)), which the buildpack was not asked for")
                    }
                    harvest.unmet.append(name)
                }
            }
            if let root = try TOMLDocument.read("\(folder)/store.toml", "store.toml") {
                harvest.store = try root.section("metadata")?.map ?? TOMLMap()
            }
        } catch {
            throw broken(error.message)
        }
        try collectBills(folder, names, buildpack, broken, into: &harvest)
        let ignored = folders.filter { name in
            !name.hasSuffix(".ignore") && harvest.layers.first { $0.name == name }?.metadata.isIgnored != false
        }
        for name in ignored {
            try onDisk { () throws(SystemError) in
                try LayerTree.remove("\(folder)/\(name).ignore")
                try Files.rename("\(folder)/\(name)", "\(folder)/\(name).ignore")
            }
        }
        harvest.layers.removeAll { $0.metadata.isIgnored }
        return harvest
    }

    private static func collectBills(
        _ folder: String, _ names: [String], _ buildpack: BuildpackDescriptor, _ broken: (String) -> CNBFailure,
        into harvest: inout Harvest
    ) throws(CNBFailure) {
        for file in names {
            guard let mark = file.firstRange(of: ".sbom."), FileFacts("\(folder)/\(file)")?.isFolder == false else {
                continue
            }
            let owner = String(file[..<mark.lowerBound])
            guard let format = SBOMFormat(rawValue: String(file[mark.upperBound...])) else {
                throw broken(
                    "\(file) is of no known format; known are *.sbom.cdx.json, *.sbom.spdx.json, *.sbom.syft.json")
            }
            guard buildpack.sbomFormats.contains(format) else {
                throw broken(
                    "\(file) is \(format.mediaType), which its buildpack.toml does not name in \"sbom-formats\"")
            }
            if owner == "launch" {
                harvest.launchBills[format] = "\(folder)/\(file)"
            } else if let index = harvest.layers.firstIndex(where: { $0.name == owner }) {
                harvest.layers[index].bills[format] = "\(folder)/\(file)"
            }
        }
    }
}
