public import Domain
import Postgres

extension PostgresStore {
    private static let withSlug: SQL = """
        select r.*, s.removed_at is not null as slug_removed from releases r join slugs s on s.digest = r.slug
        """

    /// A release that knows whether its slug is there still.
    private static func told(_ row: PostgresRow) throws -> Release {
        var release = try Release(row)
        release.slugRemoved = try row.get("slug_removed")
        return release
    }

    public func releases(_ app: AppID, limit: Int, before: Int?) async throws(PaaSError) -> [Release] {
        try await read { session in
            try session.rows(
                """
                \(Self.withSlug) where r.app_id = \(app) and r.version < \(before ?? Int.max)
                order by r.version desc limit \(max(0, limit))
                """
            ).map { try Self.told($0) }
        }
    }

    public func release(_ app: AppID, version: Int) async throws(PaaSError) -> Release {
        try await read { session in
            guard
                let row = try session.first("\(Self.withSlug) where r.app_id = \(app) and r.version = \(version)")
            else { throw Self.noRelease(version) }
            return try Self.told(row)
        }
    }

    public func releaseRuns(_ app: AppID, version: Int) async throws(PaaSError) -> [ReleaseRun] {
        try await read { session in
            try session.rows(
                "select * from release_runs where app_id = \(app) and version = \(version) order by kind desc"
            ).map { try ReleaseRun($0) }
        }
    }

    public func releaseState(_ app: AppID, version: Int) async throws(PaaSError) -> (
        state: Release.State, output: String?
    ) {
        try await read { session in
            guard var release = try session.findRelease(app, version: version) else { throw Self.noRelease(version) }
            // The same code again, with another config, in the midst of its rollout: what becomes of that one decides.
            while release.state == .superseded, !release.wasCurrent,
                let next = try session.findRelease(app, version: release.version + 1),
                next.slug == release.slug, next.commit == release.commit
            {
                release = next
            }
            return (release.state, release.output)
        }
    }

    private static func noRelease(_ version: Int) -> PaaSError {
        PaaSError(.notFound, "the app has no release v\(version); see: paasctl releases")
    }

    public func rollback(_ id: AppID, to version: Int?, actor: Principal, now: Timestamp) async throws(PaaSError) -> (
        release: Release, operation: Operation
    ) {
        let sealer = sealer
        let portRange = portRange
        return try await write(now: now) { transaction in
            let session = transaction.session
            let app = try transaction.lockApp(id, for: actor)
            let target = try Self.rollbackTarget(session, app, version)
            let vars = try Self.vars(session, sealer, id, target.configVersion)
            let config = try Self.writeConfig(transaction, sealer, app, vars)
            transaction.record(
                "config.changed", app: app, actor: actor.name, ["version": "\(config)", "from": "v\(target.version)"])
            let recipe = ReleaseRecipe(
                slug: target.slug, stack: target.stack, commit: target.commit, processTypes: target.processTypes,
                manifest: target.manifest, configVersion: config, description: "Rollback to v\(target.version)",
                createdBy: actor.name)
            return try transaction.createRelease(recipe, app: app, operation: .release, portRange: portRange)
        }
    }

    private static func rollbackTarget(_ session: PostgresSession, _ app: App, _ version: Int?) throws -> Release {
        if let version {
            guard let release = try session.findRelease(app.id, version: version) else {
                throw PaaSError(.notFound, "app \(app.name) has no release v\(version); see: paasctl releases")
            }
            return release
        }
        guard let current = app.currentRelease else {
            throw PaaSError(
                .conflict, "app \(app.name) has no current release yet, so there is nothing to go back from")
        }
        let row = try session.first(
            """
            select * from releases where app_id = \(app.id) and was_current and version < \(current)
            order by version desc limit 1
            """)
        guard let row else {
            throw PaaSError(
                .conflict, "no release of app \(app.name) was current before v\(current); name one: paasctl rollback vN"
            )
        }
        return try Release(row)
    }

    public func release(_ id: AppID, slug digest: SlugDigest, actor: Principal, now: Timestamp) async throws(PaaSError)
        -> (release: Release, operation: Operation)
    {
        let sealer = sealer
        let portRange = portRange
        return try await write(now: now) { transaction in
            let session = transaction.session
            let app = try transaction.lockApp(id, for: actor)
            guard
                let row = try session.first(
                    """
                    select stack, process_types, commit_id, manifest from (
                        select 0 as rank, version as number, stack, process_types, commit_id, manifest
                        from releases where app_id = \(id) and slug = \(digest)
                        union all
                        select 1, number, stack, process_types, source->>'commit', manifest->'release'
                        from builds where app_id = \(id) and slug = \(digest) and state = 'succeeded'
                    ) made order by rank, number desc limit 1
                    """)
            else {
                throw PaaSError(.notFound, "app \(app.name) has no slug \(digest); see: paasctl builds")
            }
            let types: [String: String] = try row.json("process_types")
            let applied = try transaction.applyManifest(
                try transaction.manifest(of: digest, app: app), app: app, types: types, sealer: sealer,
                portRange: portRange, actor: actor.name)
            let recipe = ReleaseRecipe(
                slug: digest, stack: try row.get("stack"), commit: try row.get("commit_id"), processTypes: types,
                manifest: try row.optionalJSON("manifest") ?? ReleaseManifest(), configVersion: applied,
                description: "Slug \(digest.hex.prefix(12))", createdBy: actor.name)
            return try transaction.createRelease(recipe, app: app, operation: .release, portRange: portRange)
        }
    }
}
