public import Domain
import Postgres

extension PostgresStore {
    public func slugs(_ app: AppID, limit: Int) async throws(PaaSError) -> [SlugInfo] {
        try await read { session in
            let name = try session.app(app).name
            let rows = try session.rows(
                """
                select s.* from slugs s where s.digest in (
                    select slug from releases where app_id = \(app)
                    union select slug from builds where app_id = \(app) and state = 'succeeded' and slug is not null)
                order by s.created_at desc, s.digest limit \(min(max(0, limit), Self.maximumListed))
                """)
            return try rows.map { row in
                var info = try SlugInfo(row)
                info.uses = [try session.use(of: info.digest, app, name: name)]
                info.hasBill = try session.hasBill(info.digest, app)
                return info
            }
        }
    }

    public func slug(_ digest: SlugDigest, for principal: Principal) async throws(PaaSError) -> SlugInfo {
        try await read { session in
            let apps = try session.users(of: digest, principal)
            guard !apps.isEmpty, let row = try session.first("select * from slugs where digest = \(digest)") else {
                throw Self.noSlug(digest)
            }
            var info = try SlugInfo(row)
            for app in apps {
                info.uses.append(try session.use(of: digest, app.id, name: app.name))
                if info.provenance == nil {
                    info.provenance = try session.first(
                        "select provenance from slug_evidence where slug = \(digest) and app_id = \(app.id)"
                    )?.json("provenance")
                }
                if !info.hasBill { info.hasBill = try session.hasBill(digest, app.id) }
            }
            return info
        }
    }

    public func billOfMaterials(_ digest: SlugDigest, for principal: Principal) async throws(PaaSError) -> [UInt8]? {
        try await read { session in
            let apps = try session.users(of: digest, principal)
            if apps.isEmpty { throw Self.noSlug(digest) }
            for app in apps {
                let row = try session.first(
                    """
                    select bill from slug_evidence
                    where slug = \(digest) and app_id = \(app.id) and bill is not null
                    """)
                if let row { return try row.get("bill", as: [UInt8].self) }
            }
            return nil
        }
    }

    public func provenance(_ build: BuildID) async throws(PaaSError) -> Provenance? {
        try await read { session in
            try session.first("select provenance from build_provenance where build_id = \(build)")?.json("provenance")
        }
    }

    private static func noSlug(_ digest: SlugDigest) -> PaaSError {
        PaaSError(
            .notFound, "no app that you may see has a build or a release of the slug \(digest); see: paasctl slugs")
    }

    public func promote(_ id: AppID, from source: String, actor: Principal, now: Timestamp) async throws(PaaSError) -> (
        release: Release, operation: Operation
    ) {
        let sealer = sealer
        let portRange = portRange
        return try await write(now: now) { transaction in
            let session = transaction.session
            let app = try transaction.lockApp(id, for: actor)
            guard let from = try session.findApp(named: source), actor.maySee(space: from.space) else {
                throw PaaSError.noApp(source)
            }
            guard from.id != app.id else {
                throw PaaSError(.invalid, "\(app.name) can't be promoted to itself; see: paasctl rollback")
            }
            guard let version = from.currentRelease,
                let release = try session.findRelease(from.id, version: version)
            else {
                throw PaaSError(
                    .conflict, "app \(from.name) has no current release that could be promoted; deploy it first")
            }
            guard release.stack == app.stack else {
                throw PaaSError(
                    .conflict,
                    "v\(version) of \(from.name) was built for the stack \(release.stack), and \(app.name) has \(app.stack); give both the same stack and build again"
                )
            }
            // Whatever becomes of the other app, what is known about the slug is known here too.
            try session.run(
                """
                insert into slug_evidence (app_id, slug, provenance, bill)
                select \(app.id), slug, provenance, bill from slug_evidence
                where app_id = \(from.id) and slug = \(release.slug)
                on conflict (app_id, slug) do nothing
                """)
            let config = try transaction.applyManifest(
                try transaction.manifest(of: release.slug, app: from), app: app, types: release.processTypes,
                sealer: sealer, portRange: portRange, actor: actor.name)
            let recipe = ReleaseRecipe(
                slug: release.slug, stack: release.stack, commit: release.commit, processTypes: release.processTypes,
                manifest: release.manifest, configVersion: config,
                description: "Promote \(from.name) v\(version)", createdBy: actor.name)
            return try transaction.createRelease(recipe, app: app, operation: .release, portRange: portRange)
        }
    }
}

extension PostgresSession {
    /// Apps with a build or a release of a slug that the principal may see: the one that used it last comes first.
    fileprivate func users(of digest: SlugDigest, _ principal: Principal) throws -> [(id: AppID, name: String)] {
        try rows(
            """
            select a.id, a.name from apps a join (
                select app_id, max(created_at) as last from (
                    select app_id, created_at from releases where slug = \(digest)
                    union all select app_id, created_at from builds where slug = \(digest) and state = 'succeeded'
                ) each group by app_id) used on used.app_id = a.id
            where \(principal.space)::uuid is null or a.space_id = \(principal.space)
            order by used.last desc, a.name limit \(PostgresStore.maximumListed)
            """
        ).map { (try $0.get("id"), try $0.get("name")) }
    }

    fileprivate func use(of digest: SlugDigest, _ app: AppID, name: String) throws -> SlugInfo.Use {
        let builds = try rows(
            """
            select number from builds where app_id = \(app) and slug = \(digest) and state = 'succeeded'
            order by number desc limit \(SlugInfo.maximumListed)
            """
        ).map { try $0.get("number", as: Int.self) }
        let releases = try rows(
            """
            select version from releases where app_id = \(app) and slug = \(digest)
            order by version desc limit \(SlugInfo.maximumListed)
            """
        ).map { try $0.get("version", as: Int.self) }
        return SlugInfo.Use(app: name, builds: builds, releases: releases)
    }

    fileprivate func hasBill(_ digest: SlugDigest, _ app: AppID) throws -> Bool {
        try first(
            "select 1 from slug_evidence where slug = \(digest) and app_id = \(app) and bill is not null") != nil
    }
}

extension SlugInfo {
    fileprivate init(_ row: PostgresRow) throws(PostgresError) {
        self.init(
            digest: try row.get("digest"), sizeBytes: try row.get("size_bytes"), imageBytes: try row.get("image_bytes"),
            createdAt: try row.get("created_at"), removedAt: try row.get("removed_at"), uses: [], provenance: nil,
            hasBill: false)
    }
}
