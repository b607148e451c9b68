/// A layer's `<layer>.toml`.
struct LayerMetadata: Sendable, Hashable {
    /// In the slug.
    var launch = false
    /// For the buildpacks that come later.
    var build = false
    /// Kept for the next build.
    var cache = false
    /// The buildpack's own.
    var metadata = TOMLMap()
    /// Keys that stand where older versions of the contract had them.
    var misplaced: [String] = []

    /// What the next build finds of a layer.
    struct Restoration: Sendable, Hashable {
        var metadata: Bool
        var content: Bool
    }

    init(launch: Bool = false, build: Bool = false, cache: Bool = false, metadata: TOMLMap = TOMLMap()) {
        self.launch = launch
        self.build = build
        self.cache = cache
        self.metadata = metadata
    }

    init(_ root: TOMLSection) throws(TOMLFailure) {
        if let types = try root.section("types") {
            launch = try types.flag("launch")
            build = try types.flag("build")
            cache = try types.flag("cache")
        }
        metadata = try root.section("metadata")?.map ?? TOMLMap()
        misplaced = ["launch", "build", "cache"].filter { root.map[$0] != nil }
    }

    /// Not declared for this build: a temporary folder of its buildpack's.
    var isIgnored: Bool { !launch && !build && !cache }

    /// The rows of the contract's table.
    var restoration: Restoration {
        if cache { return Restoration(metadata: true, content: true) }
        return Restoration(metadata: launch && !build, content: false)
    }

    /// Its content is kept: to be restored, or to be used again by a build that leaves no folder.
    var isKept: Bool { cache || launch }

    /// As the buildpack finds it in the next build: without the types, which it has to declare anew.
    var restoredFile: [UInt8] { (["metadata": .table(metadata)] as TOMLMap).encoded() }

    /// As the cache keeps it.
    var file: [UInt8] {
        let types: TOMLMap = ["launch": .boolean(launch), "build": .boolean(build), "cache": .boolean(cache)]
        return (["types": .table(types), "metadata": .table(metadata)] as TOMLMap).encoded()
    }

    /// Environments that the layer is for; empty: all.
    func executionEnvironments() throws(TOMLFailure) -> [String] {
        try TOMLSection(map: metadata, file: "the layer's metadata", path: "metadata.").strings("exec-env")
    }
}
