import Domain
import Glibc
import OS

extension CNBRun {
    /// Name of the folder of layers in a slug.
    static let slugLayers = ".layers"

    /// Restores, runs each buildpack's build, and makes the slug.
    func build(_ chosen: Chosen) throws(CNBFailure) -> CNBLifecycle.Result {
        let cache = LayerCache(
            folder: lifecycle.folders.cache + "/cnb", stack: lifecycle.stack,
            environment: lifecycle.executionEnvironment)
        try clearFolders()
        if let reason = try cache.prepare() {
            title("Cached layers are thrown away: \(reason)")
        }
        try restore(chosen.members, from: cache)

        var metadata = LaunchMetadata()
        var plan = chosen.plan
        var harvests: [(buildpack: BuildpackDescriptor, harvest: BuiltLayer.Harvest)] = []
        var environment = LayerEnvironment(variables: EnvironmentVariables(lifecycle.environment), phase: .build)
        let user = try userVariables()
        for member in chosen.members {
            let descriptor = member.descriptor
            title("Building with \(descriptor.name ?? descriptor.id) (\(descriptor.words))")
            try run(member, plan, environment.variables, user)
            let harvest = try BuiltLayer.harvest(
                layersFolder(descriptor), of: descriptor, plan: plan.requirements(of: descriptor.id),
                environment: lifecycle.executionEnvironment)
            for warning in harvest.warnings { warn(warning) }
            plan.settle(descriptor.id, unmet: harvest.unmet)
            try onDisk { () throws(SystemError) in
                try environment.add(layers: harvest.layers.filter(\.metadata.build).compactMap(\.content))
            }
            metadata.buildpacks.append(
                .init(id: descriptor.id, version: descriptor.version, api: descriptor.api))
            if let warning = metadata.add(harvest.launch) { warn(warning) }
            harvests.append((descriptor, harvest))
        }
        let processTypes = try export(harvests, metadata, cache)
        let last = chosen.members.last?.descriptor
        return CNBLifecycle.Result(
            used: chosen.members.map {
                .init(id: $0.descriptor.id, version: $0.descriptor.version, origin: $0.origin)
            },
            displayName: last?.name ?? last?.id ?? "", processTypes: processTypes)
    }

    func layersFolder(_ buildpack: BuildpackDescriptor) -> String {
        "\(lifecycle.folders.layers)/\(buildpack.folderName)"
    }

    /// The folder of layers is a mount point, so what it holds is removed and not it.
    private func clearFolders() throws(CNBFailure) {
        let slug = "\(lifecycle.folders.app)/\(Self.slugLayers)"
        if Files.exists(slug) {
            warn("The source has a folder \(Self.slugLayers), where the slug's layers go; it is left out.")
        }
        try onDisk { () throws(SystemError) in
            try LayerTree.remove(slug)
            try Files.makeDirectories(lifecycle.folders.layers)
            for name in try Files.list(lifecycle.folders.layers) where name != "lost+found" {
                try LayerTree.remove("\(lifecycle.folders.layers)/\(name)")
            }
        }
    }

    private func restore(_ members: [BuildpackCatalogue.Entry], from cache: LayerCache) throws(CNBFailure) {
        var lines: [String] = []
        for member in members {
            let folder = layersFolder(member.descriptor)
            try onDisk { () throws(SystemError) in try Files.makeDirectories(folder) }
            lines += try cache.restore(member.descriptor, to: folder)
        }
        guard !lines.isEmpty else { return }
        title("Restoring layers of the build before")
        for line in lines { body(line) }
    }

    private func run(
        _ member: BuildpackCatalogue.Entry, _ plan: ResolvedPlan, _ base: EnvironmentVariables,
        _ user: [String: [UInt8]]
    ) throws(CNBFailure) {
        let descriptor = member.descriptor
        let path = lifecycle.folders.work + "/buildpack-plan.toml"
        let folder = layersFolder(descriptor)
        try onDisk { () throws(SystemError) in
            try Files.writeDurably(path, plan.file(for: descriptor.id), mode: 0o644)
        }
        var variables = self.variables(for: member, base: base, user: user)
        variables.set("CNB_LAYERS_DIR", folder)
        variables.set("CNB_BP_PLAN_PATH", path)
        let run = BuildpackRun(
            program: member.folder + "/bin/build", arguments: [folder, platform, path], environment: variables,
            directory: lifecycle.folders.app)
        let status: Int32
        defer {
            let left = lifecycle.endLeftovers()
            if left > 0 {
                body("bin/build of \(descriptor.words) left \(left) process\(left == 1 ? "" : "es") running; ended.")
            }
        }
        do throws(SystemError) {
            status = try run.run(output: STDOUT_FILENO) ?? -1
        } catch {
            throw CNBFailure(
                .compileFailed, "bin/build of the buildpack \(descriptor.words) can't be started: \(error).")
        }
        guard status != 0 else { return }
        if isFull() {
            throw CNBFailure(.diskFull, "The build's disk is full; the buildpack \(descriptor.words) failed.")
        }
        throw CNBFailure(
            .compileFailed,
            "The buildpack \(descriptor.words) failed with exit code \(status); its own output above says why.")
    }

    /// Whether less than a mebibyte is left where layers are written.
    private func isFull() -> Bool {
        var info = statvfs()
        guard statvfs(lifecycle.folders.layers, &info) == 0 else { return false }
        return UInt64(info.f_bavail) * UInt64(info.f_frsize) < 1 << 20
    }
}
