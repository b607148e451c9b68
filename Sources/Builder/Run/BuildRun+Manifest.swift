import Domain

/// `app.json` in a build: read from the checkout before it and from the finished tree after it.
extension BuildRun {
    private func manifest() async throws(BuildStop) -> AppManifest? {
        guard let bytes = try await read("app/\(AppManifest.fileName)", limit: AppManifest.maximumBytes + 1) else {
            return nil
        }
        do throws(PaaSError) { return try AppManifest(bytes) } catch { throw .failed(error) }
    }

    /// The build makes what may become the app's first release, which takes more of `app.json` than later ones.
    private func isFirst(_ build: Build, _ app: App) -> Bool { app.currentRelease == nil && !build.options.buildOnly }

    /// The config that a build sees: the app's, with what `app.json` adds at the first release. Generated values are drawn for
    /// the build alone: the app gets its own when its release is recorded.
    /// - Throws: `appFailed` if a required variable has no value. A source that is fetched inside the container is not here yet;
    ///   it is checked after the build.
    func firstConfig(_ config: ConfigVars, _ build: Build, _ app: App) async throws(BuildStop) -> ConfigVars {
        // Also for later builds: a file that can't be read shows itself before a long compile.
        guard let manifest = try await manifest(), isFirst(build, app) else { return config }
        do throws(PaaSError) {
            try manifest.requireVariables(in: config, app: app.name)
            let added = try manifest.additions(to: config, applied: [], secret: AppManifest.generatedSecret)
            return config.merging(added) { own, _ in own }
        } catch { throw .failed(error) }
    }

    /// What goes along with the slug; says what is made of it.
    /// - Parameter types: the process types of the finished tree.
    func manifest(for types: [String: String], _ build: Build, _ app: App) async throws(BuildStop) -> AppManifest? {
        guard let manifest = try await manifest() else { return nil }
        let isFirst = isFirst(build, app)
        if isFirst {
            let config = try await step { () async throws(PaaSError) in
                try await parts.store.buildConfig(app.id).vars
            }
            do throws(PaaSError) {
                try manifest.requireTypes(Set(types.keys))
                try manifest.requireVariables(in: config, app: app.name)
            } catch { throw .failed(error) }
        }
        for line in ManifestWords.lines(manifest, isFirst: isFirst, app: app) { await sayOnce(line) }
        return manifest
    }
}

/// What a pusher reads about `app.json`.
enum ManifestWords {
    static func lines(_ manifest: AppManifest, isFirst: Bool, app: App) -> [String] {
        var lines = ["-----> Reading app.json"]
        if isFirst {
            let parts = beginnings(manifest, app)
            if !parts.isEmpty {
                lines.append("       The first release takes from it what is not set yet:")
                lines += parts.map { "         \($0)" }
            }
        }
        if let stack = manifest.stack, stack != app.stack {
            lines += BuildWords.error("app.json names stack \(Names.quoted(stack)); the app stays on \(app.stack)")
        }
        if app.noPorts, manifest.ports?.isEmpty == false, isFirst {
            lines += BuildWords.error("slipway.ports is ignored: the app was created with --no-ports")
        }
        for note in manifest.notes.prefix(20) { lines += BuildWords.error("app.json: \(note)") }
        return lines.count == 1 ? [] : lines
    }

    private static func beginnings(_ manifest: AppManifest, _ app: App) -> [String] {
        var parts: [String] = []
        let given = manifest.variables.filter { $0.value != nil || $0.isGenerated }
        if !given.isEmpty {
            // Names only.
            let names = given.map { $0.isGenerated ? "\($0.name) (generated)" : $0.name }
            parts.append("config vars: \(BuildWords.list(names))")
        }
        let scales = manifest.formation.sorted { $0.key < $1.key }.compactMap { type, scale in
            scale.quantity.map { "\(type)=\($0)" }
        }
        if !scales.isEmpty { parts.append("formation: \(scales.joined(separator: " "))") }
        if let ports = manifest.ports, !app.noPorts {
            parts.append("ports: \(ports.isEmpty ? "none" : BuildWords.list(ports.map(\.name)))")
        }
        if manifest.release.postdeploy != nil { parts.append("postdeploy script, run once the release is current") }
        return parts
    }
}
