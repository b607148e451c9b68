import Domain
import OS

extension CNBRun {
    /// Moves launch layers into the slug, keeps what the next build gets, writes what the launcher and the builder need.
    /// - Returns: process types with their commands.
    func export(
        _ harvests: [(buildpack: BuildpackDescriptor, harvest: BuiltLayer.Harvest)], _ metadata: LaunchMetadata,
        _ cache: LayerCache
    ) throws(CNBFailure) -> [String: String] {
        let slug = "\(lifecycle.folders.app)/\(Self.slugLayers)"
        var writer = cache.writer()
        var count = 0
        title("Exporting layers")
        for (buildpack, harvest) in harvests {
            for layer in harvest.layers {
                if layer.metadata.launch { count += 1 }
                try export(layer, to: slug, cache, &writer)
            }
            for (format, path) in harvest.launchBills {
                try copyBill(path, to: "\(slug)/sbom/launch/\(buildpack.folderName)", format)
            }
            if let store = harvest.store { try writer.keepStore(store, of: buildpack) }
        }
        body(count == 1 ? "1 layer in the slug" : "\(count) layers in the slug")
        let types = ProcessTypeMap(metadata, environment: lifecycle.executionEnvironment)
        for line in types.notes { warn(line) }
        try onDisk { () throws(SystemError) in
            try Files.makeDirectories(slug + "/config")
            try Files.writeDurably(slug + "/config/metadata.toml", metadata.encoded(), mode: 0o644)
            try Files.writeDurably(lifecycle.folders.result + "/release.yml", types.releaseFile, mode: 0o644)
        }
        try writer.commit()
        return types.commands
    }

    private func export(
        _ layer: BuiltLayer, to slug: String, _ cache: LayerCache, _ writer: inout LayerCache.Writer
    ) throws(CNBFailure) {
        let words = "\(layer.buildpack.id): \(Names.quoted(layer.name))"
        let before = layer.metadata.launch ? cache.content(of: layer.name, layer.buildpack) : nil
        if layer.content == nil && layer.metadata.launch && before == nil {
            throw CNBFailure(
                .compileFailed,
                "The buildpack \(layer.buildpack.words) declares the layer \(Names.quoted(layer.name)) for the slug and left no folder, and the build before has none to use again. Clear the app's cache (paasctl builds purge-cache) and build again."
            )
        }
        if layer.content == nil && layer.metadata.cache && before == nil {
            warn("\(words) has no folder, so there is nothing to cache.")
        }
        let parent = "\(slug)/\(layer.buildpack.folderName)"
        if layer.metadata.isKept && (layer.content != nil || before != nil) {
            try writer.keep(layer, content: layer.content)
        }
        guard layer.metadata.launch else { return }
        let skipped = try onDisk { () throws(SystemError) in
            try Files.makeDirectories(parent)
            if let content = layer.content { return try LayerTree.move(content, to: "\(parent)/\(layer.name)") }
            if let before { return try LayerTree.copy(before, to: "\(parent)/\(layer.name)") }
            return []
        }
        if layer.content == nil { body("\(words) is used again") }
        if let first = skipped.first {
            warn(
                "\(words): \(skipped.count) sockets, pipes or devices are left out, for example \(Names.quoted(first))."
            )
        }
        for (format, path) in layer.bills {
            try copyBill(path, to: "\(slug)/sbom/launch/\(layer.buildpack.folderName)/\(layer.name)", format)
        }
    }

    private func copyBill(_ path: String, to folder: String, _ format: SBOMFormat) throws(CNBFailure) {
        try onDisk { () throws(SystemError) in
            try Files.makeDirectories(folder)
            _ = try LayerTree.copy(path, to: "\(folder)/sbom.\(format.rawValue)")
        }
    }
}
