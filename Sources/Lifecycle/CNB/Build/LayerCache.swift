import Domain
import OS

/// The layers that a build keeps for the next one, in a folder of the app's cache:
///
///     state.toml                 stack and execution environment that they were made for
///     layers/BUILDPACK/LAYER/    content of layers that are cached or in the slug
///     layers/BUILDPACK/LAYER.toml, LAYER.sbom.EXT
///     store/BUILDPACK.toml
///
/// There is no image of the build before at hand to take a launch layer from, so those are kept beside the cached ones.
/// The next state grows beside the old one and takes its place at the end of a build that succeeded.
struct LayerCache {
    /// Raised when the arrangement of the folder changes.
    static let format: Int64 = 1

    /// Absolute path; need not be there.
    var folder: String
    var stack: String
    var environment: String

    private var next: String { folder + ".next" }
    private var old: String { folder + ".old" }

    /// Throws away what was made for another stack or environment.
    /// - Returns: why, for the build's output; nil if all is kept or there is nothing.
    func prepare() throws(CNBFailure) -> String? {
        try onDisk { () throws(SystemError) in
            try LayerTree.remove(next)
            try LayerTree.remove(old)
        }
        guard Files.exists(folder) else { return nil }
        guard let reason = unusable() else { return nil }
        try onDisk { () throws(SystemError) in try LayerTree.remove(folder) }
        return reason
    }

    private func unusable() -> String? {
        do throws(TOMLFailure) {
            guard let state = try TOMLDocument.read("\(folder)/state.toml", "state.toml") else {
                return "it is incomplete"
            }
            guard case .integer(Self.format) = state.map["format"] else { return "another version made it" }
            let stack = try state.string("stack") ?? ""
            if stack != self.stack { return "the stack changed from \(stack) to \(self.stack)" }
            let environment = try state.string("environment") ?? ""
            if environment != self.environment {
                return "the execution environment changed from \(environment) to \(self.environment)"
            }
            return nil
        } catch {
            return error.message
        }
    }

    /// Puts back what the contract gives a buildpack of its layers of the build before.
    /// - Parameter layers: the buildpack's folder of layers, which is there and empty.
    /// - Returns: lines for the build's output.
    func restore(_ buildpack: BuildpackDescriptor, to layers: String) throws(CNBFailure) -> [String] {
        var lines: [String] = []
        let kept = "\(folder)/layers/\(buildpack.folderName)"
        let names = try onDisk { () throws(SystemError) in try Files.list(kept) }
        for name in Self.layerNames(names) {
            guard let metadata = read("\(kept)/\(name).toml") else { continue }
            let row = metadata.restoration
            guard row.metadata else { continue }
            // Metadata without the content that they describe would mislead: it is to be there, or there to be used again.
            if FileFacts("\(kept)/\(name)")?.isFolder != true { continue }
            try onDisk { () throws(SystemError) in
                try Files.writeDurably("\(layers)/\(name).toml", metadata.restoredFile, mode: 0o644)
                for format in SBOMFormat.allCases {
                    let file = "\(name).sbom.\(format.rawValue)"
                    if names.contains(file) { _ = try LayerTree.copy("\(kept)/\(file)", to: "\(layers)/\(file)") }
                }
                if row.content { _ = try LayerTree.copy("\(kept)/\(name)", to: "\(layers)/\(name)") }
            }
            lines.append("\(buildpack.id): \(Names.quoted(name))\(row.content ? "" : " (only its metadata)")")
        }
        let store = "\(folder)/store/\(buildpack.folderName).toml"
        try onDisk { () throws(SystemError) in
            if Files.exists(store) { _ = try LayerTree.copy(store, to: "\(layers)/store.toml") }
        }
        return lines
    }

    /// Content that the build before kept of a layer; nil if there is none.
    func content(of layer: String, _ buildpack: BuildpackDescriptor) -> String? {
        let path = "\(folder)/layers/\(buildpack.folderName)/\(layer)"
        guard let metadata = read(path + ".toml"), metadata.launch else { return nil }
        return FileFacts(path)?.isFolder == true ? path : nil
    }

    private func read(_ path: String) -> LayerMetadata? {
        // Ours, written whole; one that can't be read is as good as none, and the buildpack makes the layer anew.
        guard let root = (try? TOMLDocument.read(path, path)) ?? nil else { return nil }
        return try? LayerMetadata(root)
    }

    /// Names of layers among the files of a buildpack's folder.
    static func layerNames(_ names: [String]) -> [String] {
        names.filter { $0.hasSuffix(".toml") }.map { String($0.dropLast(5)) }
            .filter { !BuiltLayer.forbidden.contains($0) && !$0.isEmpty }
    }

    /// Collects the next state.
    struct Writer {
        fileprivate var cache: LayerCache
        /// Content of the old state that goes over as it is.
        fileprivate var kept: [(from: String, to: String)] = []

        /// Keeps a layer. `content` is nil for one that goes on as it was.
        mutating func keep(_ layer: BuiltLayer, content: String?) throws(CNBFailure) {
            let parent = "\(cache.next)/layers/\(layer.buildpack.folderName)"
            let old = "\(cache.folder)/layers/\(layer.buildpack.folderName)/\(layer.name)"
            let target = "\(parent)/\(layer.name)"
            try onDisk { () throws(SystemError) in
                try Files.makeDirectories(parent)
                try Files.writeDurably(target + ".toml", layer.metadata.file, mode: 0o644)
                for (format, path) in layer.bills {
                    _ = try LayerTree.copy(path, to: "\(target).sbom.\(format.rawValue)")
                }
                if let content {
                    // What did not change is not written again.
                    let same = try LayerTree.isSame(content, old)
                    if same {
                        kept.append((old, target))
                    } else {
                        _ = try LayerTree.copy(content, to: target)
                    }
                } else if Files.exists(old) {
                    kept.append((old, target))
                }
            }
        }

        /// Keeps the `[metadata]` of a buildpack's `store.toml`.
        func keepStore(_ metadata: TOMLMap, of buildpack: BuildpackDescriptor) throws(CNBFailure) {
            try onDisk { () throws(SystemError) in
                try Files.makeDirectories("\(cache.next)/store")
                try Files.writeDurably(
                    "\(cache.next)/store/\(buildpack.folderName).toml",
                    (["metadata": .table(metadata)] as TOMLMap).encoded(), mode: 0o644)
            }
        }

        /// Puts the next state in the place of the old one.
        func commit() throws(CNBFailure) {
            let state: TOMLMap = [
                "format": .integer(LayerCache.format), "stack": .string(cache.stack),
                "environment": .string(cache.environment),
            ]
            try onDisk { () throws(SystemError) in
                try Files.makeDirectories(cache.next)
                for (from, to) in kept { _ = try LayerTree.move(from, to: to) }
                try Files.writeDurably("\(cache.next)/state.toml", state.encoded(), mode: 0o644)
                if Files.exists(cache.folder) { try Files.rename(cache.folder, cache.old) }
                try Files.rename(cache.next, cache.folder)
                try LayerTree.remove(cache.old)
            }
        }
    }

    func writer() -> Writer { Writer(cache: self) }
}
