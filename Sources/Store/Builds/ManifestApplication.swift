import Domain
import Postgres

/// What `app.json` gave an app already.
struct AppliedManifest: Codable {
    /// Names of config vars.
    var variables: Set<String>
    /// Names of ports.
    var ports: Set<String>
    /// The newest one says what ports there are, so that `web` gets none by itself.
    var declaresPorts: Bool
}

extension StoreTransaction {
    func appliedManifest(_ app: App) throws -> AppliedManifest {
        try session.one("select manifest_applied from apps where id = \(app.id)").json("manifest_applied")
    }

    /// What the newest build of a slug found in `app.json`; one of another app if the app itself only was given the slug, as by
    /// a promotion. Equal slugs have equal trees, with their `app.json`.
    func manifest(of slug: SlugDigest, app: App) throws -> AppManifest? {
        try session.first(
            """
            select manifest from builds where slug = \(slug) and state = 'succeeded'
            order by app_id = \(app.id) desc, created_at desc, number desc limit 1
            """
        )?.optionalJSON("manifest")
    }

    /// Gives a locked app, right before a release is made, what `app.json` says of its beginnings: nothing once a release was
    /// current, nothing that is there already, and nothing that was taken away since it was given.
    /// - Returns: the config version for the release.
    /// - Throws: `appFailed` if a required variable is missing or a process type is.
    func applyManifest(
        _ manifest: AppManifest?, app: App, types: [String: String], sealer: ConfigSealer,
        portRange: ClosedRange<UInt16>, actor: String
    ) throws -> Int {
        if try hasBeenReleased(app) { return app.configVersion }
        var applied = try appliedManifest(app)
        let manifest = manifest ?? AppManifest()
        try manifest.requireTypes(Set(types.keys))
        let version = try addVariables(manifest, app: app, applied: &applied, sealer: sealer, actor: actor)
        try writeInitialFormation(manifest, app: app, types: types)
        try addPorts(manifest, app: app, applied: &applied, range: portRange, actor: actor)
        try session.run("update apps set manifest_applied = \(JSON(applied)) where id = \(app.id)")
        return version
    }

    private func addVariables(
        _ manifest: AppManifest, app: App, applied: inout AppliedManifest, sealer: ConfigSealer, actor: String
    ) throws -> Int {
        if manifest.variables.isEmpty { return app.configVersion }
        var vars = try PostgresStore.vars(session, sealer, app.id, app.configVersion)
        try manifest.requireVariables(in: vars, app: app.name)
        let added = try manifest.additions(
            to: vars, applied: applied.variables, secret: AppManifest.generatedSecret)
        if added.isEmpty { return app.configVersion }
        vars.merge(added) { present, _ in present }
        applied.variables.formUnion(added.keys)
        let version = try PostgresStore.writeConfig(self, sealer, app, vars)
        record(
            "config.changed", app: app, actor: actor,
            [
                "version": "\(version)", "set": added.keys.sorted().joined(separator: ","), "unset": "",
                "from": AppManifest.fileName,
            ])
        return version
    }

    private func writeInitialFormation(_ manifest: AppManifest, app: App, types: [String: String]) throws {
        if manifest.formation.isEmpty { return }
        let byHand = try session.rows("select type from formation_entries where app_id = \(app.id) and by_hand")
        let kept = Set(try byHand.map { try $0.get("type", as: String.self) })
        let entries = manifest.initialFormation(types: types.keys, kept: kept)
        for (type, entry) in entries.sorted(by: { $0.key < $1.key }) {
            try writeFormation(app, type: type, entry, byHand: false)
        }
    }

    private func addPorts(
        _ manifest: AppManifest, app: App, applied: inout AppliedManifest, range: ClosedRange<UInt16>, actor: String
    ) throws {
        applied.declaresPorts = manifest.ports != nil
        guard let wanted = manifest.ports, !app.noPorts else { return }
        let present = Set(try session.ports(app.id).map(\.name))
        for port in wanted where !present.contains(port.name) && !applied.ports.contains(port.name) {
            let request = PortRequest(
                name: port.name, protocol: port.protocol, processType: port.process, targetPort: port.targetPort,
                drainSeconds: port.drainSeconds)
            _ = try insertPort(app, request, type: port.process, range: range, actor: actor)
            applied.ports.insert(port.name)
        }
    }
}
