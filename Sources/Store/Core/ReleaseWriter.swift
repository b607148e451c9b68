import Domain
import Postgres

/// What a new release is made of.
struct ReleaseRecipe {
    var slug: SlugDigest
    var stack: String
    var commit: String?
    var processTypes: [String: String]
    var manifest: ReleaseManifest
    var configVersion: Int
    var description: String
    var createdBy: String
}

extension StoreTransaction {
    /// Release n+1 of a locked app with what comes with it: older ones that are still on their way are superseded, new
    /// process types get a formation entry, a first release also processes and the port of `web`, the runs that it is to have
    /// are recorded, the generation rises.
    func createRelease(
        _ recipe: ReleaseRecipe, app: App, operation kind: Operation.Kind, portRange: ClosedRange<UInt16>
    ) throws -> (release: Release, operation: Operation) {
        try requireFile(of: recipe.slug, commit: recipe.commit, app: app)
        let version: Int = try session.one(
            """
            update apps set last_release = last_release + 1, generation = generation + 1, updated_at = \(now)
            where id = \(app.id) returning last_release
            """
        ).get("last_release")
        try supersedeCandidates(app, by: version)
        let operation = try openOperation(kind, app: app, target: "\(app.path)/releases/\(version)")
        let release = Release(
            id: .random(), version: version, app: app.id, state: .pending, slug: recipe.slug, stack: recipe.stack,
            commit: recipe.commit, processTypes: recipe.processTypes, configVersion: recipe.configVersion,
            description: recipe.description, createdBy: recipe.createdBy, createdAt: now, operation: operation.id,
            manifest: recipe.manifest)
        try session.run(
            """
            insert into releases (id, app_id, version, state, slug, stack, commit_id, process_types, config_version,
                description, created_by, created_at, operation_id, manifest)
            values (\(release.id), \(app.id), \(version), 'pending', \(release.slug), \(release.stack),
                \(release.commit), \(JSON(release.processTypes)), \(release.configVersion),
                \(release.description), \(release.createdBy), \(now), \(operation.id), \(JSON(release.manifest)))
            """)
        if let command = recipe.processTypes[ReleaseRun.Kind.release.rawValue] {
            try addRun(.release, of: release, command: command)
        }
        if let command = recipe.manifest.postdeploy, try !hasBeenReleased(app) {
            try addRun(.postdeploy, of: release, command: command)
        }
        try growFormation(app, types: Array(recipe.processTypes.keys))
        if try !hasBeenReleased(app) { try addWebPort(app, types: recipe.processTypes, range: portRange) }
        record(
            "release.created", app: app, actor: recipe.createdBy, ["version": "\(version)", "slug": "\(recipe.slug)"])
        return (release, operation)
    }

    private func addRun(_ kind: ReleaseRun.Kind, of release: Release, command: String) throws {
        try session.run(
            """
            insert into release_runs (app_id, version, kind, state, command)
            values (\(release.app), \(release.version), \(kind.rawValue), 'pending', \(command))
            """)
    }

    /// Holds the slug's row, so that its file can't be removed before this is committed.
    private func requireFile(of slug: SlugDigest, commit: String?, app: App) throws {
        guard let row = try session.first("select removed_at from slugs where digest = \(slug) for share") else {
            throw PaaSError(.notFound, "app \(app.name) has no slug \(slug); see: paasctl builds")
        }
        guard let _: Timestamp = try row.get("removed_at") else { return }
        let version: Int? = try session.first(
            "select max(version) as version from releases where app_id = \(app.id) and slug = \(slug)"
        )?.get("version")
        throw RetentionRules.slugIsGone(version ?? 0, commit: commit)
    }

    /// Whether some release was current at some time.
    func hasBeenReleased(_ app: App) throws -> Bool {
        try session.first("select 1 from releases where app_id = \(app.id) and was_current limit 1") != nil
    }

    private func supersedeCandidates(_ app: App, by version: Int) throws {
        let older = try session.rows(
            """
            update releases set state = 'superseded'
            where app_id = \(app.id) and state in ('pending', 'rolling') and version < \(version)
            returning version, operation_id
            """)
        for row in older {
            let old: Int = try row.get("version")
            try supersedeRuns(app, version: old)
            let reason = "v\(old) was superseded by v\(version) before its rollout ended"
            if let operation: OperationID = try row.get("operation_id") {
                try closeOperation(operation, .cancelled, error: ErrorReport(code: .cancelled, message: reason))
            }
            record("release.superseded", app: app, actor: nil, ["version": "\(old)", "by": "\(version)"])
        }
    }

    /// A release is over before its time: its runs are not begun any more, and what runs is stopped.
    func supersedeRuns(_ app: App, version: Int) throws {
        try session.run(
            """
            update release_runs set state = 'superseded', finished_at = \(now)
            where app_id = \(app.id) and version = \(version) and state in ('pending', 'running')
            """)
    }

    private func growFormation(_ app: App, types: [String]) throws {
        let present = try session.formation(app.id)
        let initial: Formation =
            try hasBeenReleased(app)
            ? Dictionary(uniqueKeysWithValues: types.map { ($0, FormationEntry(quantity: 0)) })
            : FormationEntry.initial(processTypes: types)
        for (type, entry) in initial.sorted(by: { $0.key < $1.key }) where present[type] == nil {
            guard ReleaseRun.Kind(rawValue: type) == nil else { continue }
            try writeFormation(app, type: type, entry, byHand: false)
        }
    }

    /// - Parameter byHand: a user wrote it, so that no `app.json` changes it.
    func writeFormation(_ app: App, type: String, _ entry: FormationEntry, byHand: Bool) throws {
        try session.run(
            """
            insert into formation_entries (app_id, type, quantity, memory_bytes, cpu_millis, qos, by_hand)
            values (\(app.id), \(type), \(entry.quantity), \(entry.memoryBytes), \(entry.cpuMillis),
                \(entry.qos.rawValue), \(byHand))
            on conflict (app_id, type) do update set quantity = excluded.quantity,
                memory_bytes = excluded.memory_bytes, cpu_millis = excluded.cpu_millis, qos = excluded.qos,
                by_hand = excluded.by_hand
            """)
    }

    private func addWebPort(_ app: App, types: [String: String], range: ClosedRange<UInt16>) throws {
        guard !app.noPorts, types["web"] != nil, try !appliedManifest(app).declaresPorts else { return }
        guard try !session.ports(app.id).contains(where: { $0.name == "web" }) else { return }
        _ = try insertPort(
            app, PortRequest(name: "web", protocol: .tcp, processType: "web"), type: "web", range: range,
            actor: "platform")
    }
}
