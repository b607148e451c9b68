public import Domain
import Postgres

extension PostgresStore {
    /// Bytes of all keys and values of an app: what an environment can hold with room to spare.
    public static let maximumConfigBytes = 1 << 20

    public func config(_ app: AppID) async throws(PaaSError) -> (vars: ConfigVars, version: Int) {
        let sealer = sealer
        return try await read { session in
            let version = try session.app(app).configVersion
            return (try Self.vars(session, sealer, app, version), version)
        }
    }

    public func buildConfig(_ app: AppID) async throws(PaaSError) -> (vars: ConfigVars, version: Int) {
        try await config(app)
    }

    public func configVars(_ app: AppID, version: Int) async throws(PaaSError) -> ConfigVars {
        let sealer = sealer
        return try await read { try Self.vars($0, sealer, app, version) }
    }

    public func patchConfig(
        _ id: AppID, changes: [String: ConfigValue?], ifMatch: Int?, actor: Principal, now: Timestamp
    ) async throws(PaaSError) -> ConfigChange {
        for (key, value) in changes.sorted(by: { $0.key < $1.key }) {
            if value == nil { try Names.validateConfigKeyForm(key) } else { try Names.validateConfigKey(key) }
        }
        let sealer = sealer
        let portRange = portRange
        return try await write(now: now) { transaction in
            let session = transaction.session
            let app = try transaction.lockApp(id, for: actor)
            if let ifMatch, ifMatch != app.configVersion {
                throw PaaSError(
                    .preconditionFailed,
                    "the config is at version \(app.configVersion), not \(ifMatch); read it again, then retry")
            }
            let before = try Self.vars(session, sealer, id, app.configVersion)
            var vars = before
            for (key, value) in changes { vars[key] = value }
            if vars == before {
                let operation = try transaction.openOperation(
                    .config, app: app, target: "\(app.path)/config", completed: true)
                return ConfigChange(vars: vars, version: app.configVersion, release: nil, operation: operation)
            }
            let version = try Self.writeConfig(transaction, sealer, app, vars)
            let set = changes.filter { $0.value != nil && before[$0.key] != $0.value }.keys.sorted()
            let unset = changes.filter { $0.value == nil && before[$0.key] != nil }.keys.sorted()
            transaction.record(
                "config.changed", app: app, actor: actor.name,
                [
                    "version": "\(version)", "set": set.joined(separator: ","), "unset": unset.joined(separator: ","),
                ])
            // Before the first rollout has ended, the release that is on its way takes the change.
            let current = try app.currentRelease.flatMap { try session.findRelease(id, version: $0) }
            guard let base = try current ?? session.candidate(id) else {
                let operation = try transaction.openOperation(
                    .config, app: app, target: "\(app.path)/config", completed: true)
                return ConfigChange(vars: vars, version: version, release: nil, operation: operation)
            }
            let recipe = ReleaseRecipe(
                slug: base.slug, stack: base.stack, commit: base.commit, processTypes: base.processTypes,
                manifest: base.manifest, configVersion: version, description: Self.describe(set: set, unset: unset),
                createdBy: actor.name)
            let made = try transaction.createRelease(recipe, app: app, operation: .config, portRange: portRange)
            return ConfigChange(
                vars: vars, version: version, release: made.release.version, operation: made.operation)
        }
    }

    public func configStatus(_ app: AppID) async throws(PaaSError) -> ConfigStatus {
        try await read { session in
            let row = try session.first("\(Self.configStatuses) where a.id = \(app)")
            guard let row else { throw PaaSError(.notFound, "the app does not exist any more") }
            return try ConfigStatus(row)
        }
    }

    public func outdatedConfigs(for principal: Principal) async throws(PaaSError) -> [ConfigStatus] {
        try await read { session in
            try session.rows(
                """
                \(Self.configStatuses)
                where not a.deleting and r.config_version <> a.config_version
                    and (\(principal.space)::uuid is null or a.space_id = \(principal.space)) order by a.name
                """
            ).map { try ConfigStatus($0) }
        }
    }

    private static let configStatuses: SQL = """
        select a.name, a.config_version as wanted, r.config_version as running, n.version as release, n.state
        from apps a left join releases r on r.app_id = a.id and r.version = a.current_release
            left join lateral (select version, state from releases w
                where w.app_id = a.id and w.config_version = a.config_version
                order by w.version desc limit 1) n on true
        """

    static func vars(_ session: PostgresSession, _ sealer: ConfigSealer, _ app: AppID, _ version: Int) throws
        -> ConfigVars
    {
        if version == 0 { return [:] }
        guard
            let row = try session.first(
                "select sealed from config_versions where app_id = \(app) and version = \(version)")
        else { throw PaaSError(.notFound, "the app has no config version \(version)") }
        return try sealer.open(try row.get("sealed"), app: app, version: version)
    }

    /// The next config version of a locked app; it becomes the wanted one.
    static func writeConfig(
        _ transaction: StoreTransaction, _ sealer: ConfigSealer, _ app: App, _ vars: ConfigVars
    ) throws -> Int {
        let bytes = vars.reduce(0) { $0 + $1.key.utf8.count + $1.value.bytes.count + 2 }
        guard bytes <= maximumConfigBytes else {
            throw PaaSError(
                .tooLarge, "the config of an app can have at most \(maximumConfigBytes) bytes in all, not \(bytes)")
        }
        let version = app.configVersion + 1
        let sealed = try sealer.seal(vars, app: app.id, version: version)
        try transaction.session.run(
            """
            insert into config_versions (app_id, version, sealed, created_at)
            values (\(app.id), \(version), \(sealed), \(transaction.now))
            """)
        try transaction.session.run(
            "update apps set config_version = \(version), updated_at = \(transaction.now) where id = \(app.id)")
        return version
    }

    private static func describe(set: [String], unset: [String]) -> String {
        var parts: [String] = []
        if !set.isEmpty { parts.append("Set \(list(set))") }
        if !unset.isEmpty { parts.append("\(parts.isEmpty ? "Unset" : "unset") \(list(unset))") }
        return parts.joined(separator: ", ")
    }

    private static func list(_ keys: [String]) -> String {
        keys.count > 5
            ? keys.prefix(5).joined(separator: ", ") + " and \(keys.count - 5) more" : keys.joined(separator: ", ")
    }
}

extension ConfigStatus {
    fileprivate init(_ row: PostgresRow) throws(PostgresError) {
        self.init(
            app: try row.get("name"), wantedVersion: try row.get("wanted"), runningVersion: try row.get("running"),
            release: try row.get("release"),
            releaseState: try row.get("state", as: String?.self).flatMap { Release.State(rawValue: $0) })
    }
}
