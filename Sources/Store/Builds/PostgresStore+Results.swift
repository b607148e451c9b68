public import Domain
import Postgres

extension PostgresStore {
    public func recordSlug(_ slug: Slug, evidence: SlugEvidence, build id: BuildID) async throws(PaaSError)
        -> Build.Comparison?
    {
        try await write(now: slug.createdAt) { transaction in
            let session = transaction.session
            let (build, app) = try transaction.lockBuild(id)
            try transaction.writeSlug(slug)
            let comparison = try session.comparison(build, evidence.provenance)
            try session.run(
                """
                update builds set slug = \(slug.digest), process_types = \(JSON(slug.processTypes)),
                    manifest = \(slug.manifest.map { JSON($0) }), compared = \(comparison.map { JSON($0) })
                where id = \(id)
                """)
            let provenance = JSON(evidence.provenance)
            try session.run(
                """
                insert into build_provenance (build_id, provenance) values (\(id), \(provenance))
                on conflict (build_id) do update set provenance = excluded.provenance
                """)
            try session.run(
                """
                insert into slug_evidence (app_id, slug, provenance, bill)
                values (\(app.id), \(slug.digest), \(provenance), \(evidence.billOfMaterials))
                on conflict (app_id, slug) do update set provenance = excluded.provenance, bill = excluded.bill
                """)
            return comparison
        }
    }

    public func completeBuild(_ id: BuildID, slug: Slug, portRange: ClosedRange<UInt16>, now: Timestamp)
        async throws(PaaSError) -> Release?
    {
        let sealer = sealer
        return try await write(now: now) { transaction in
            let session = transaction.session
            let (build, app) = try transaction.lockBuild(id)
            if build.state == .succeeded {
                // A repetition after an answer that got lost.
                return try build.release.flatMap { try session.findRelease(app.id, version: $0) }
            }
            guard !build.state.isFinal else {
                throw PaaSError(.conflict, "build \(build.number) of \(app.name) is \(build.state.rawValue) already")
            }
            try transaction.requireAlive(app)
            try transaction.writeSlug(slug)
            var release: Release?
            if !build.options.buildOnly {
                let config = try transaction.applyManifest(
                    slug.manifest, app: app, types: slug.processTypes, sealer: sealer, portRange: portRange,
                    actor: build.createdBy)
                let recipe = ReleaseRecipe(
                    slug: slug.digest, stack: slug.stack, commit: build.source.commit,
                    processTypes: slug.processTypes, manifest: slug.manifest?.release ?? ReleaseManifest(),
                    configVersion: config,
                    description: Self.describe(build), createdBy: build.createdBy)
                release = try transaction.createRelease(recipe, app: app, operation: .release, portRange: portRange)
                    .release
            }
            // Without a release nothing comes after it.
            let refMoved = build.options.buildOnly
            try session.run(
                """
                update builds set state = 'succeeded', slug = \(slug.digest),
                    process_types = \(JSON(slug.processTypes)), manifest = \(slug.manifest.map { JSON($0) }), release = \(release?.version), ref_moved = \(refMoved), finished_at = \(now), started_at = coalesce(started_at, \(now))
                where id = \(id)
                """)
            if let operation = build.operation { try transaction.closeOperation(operation, .completed) }
            try transaction.pinBuildpacks(of: id, app)
            var data = ["build": "\(build.number)", "slug": "\(slug.digest)"]
            data["release"] = release.map { "\($0.version)" }
            transaction.record("build.succeeded", app: app, actor: build.createdBy, data)
            return release
        }
    }

    private static func describe(_ build: Build) -> String {
        switch build.source.kind {
        case .tar: "Deploy of an archive"
        case .git, .push, .commit: build.source.commit.map { "Deploy \($0.prefix(8))" } ?? "Deploy"
        }
    }

    public func markRefMoved(_ id: BuildID) async throws(PaaSError) {
        try await write(now: .now()) { transaction in
            let changed = try transaction.session.run("update builds set ref_moved = true where id = \(id)")
            guard changed.affectedRows == 1 else { throw Self.noBuild("\(id)") }
        }
    }

    public func fixDeployBranch(_ id: AppID, _ branch: String) async throws(PaaSError) -> String {
        try AppRules.validate(branch: branch)
        return try await write(now: .now()) { transaction in
            let app = try transaction.lockApp(id)
            if let fixed = app.deployBranch { return fixed }
            try transaction.session.run("update apps set deploy_branch = \(branch) where id = \(id)")
            transaction.record("app.updated", app: app, actor: nil, ["deployBranch": branch])
            return branch
        }
    }

    public func knownSlugs() async throws(PaaSError) -> Set<SlugDigest> {
        try await read { session in
            Set(
                try session.rows("select digest from slugs where removed_at is null").map {
                    try $0.get("digest", as: SlugDigest.self)
                })
        }
    }

    public func knownApps() async throws(PaaSError) -> Set<AppID> {
        try await read { session in
            Set(try session.rows("select id from apps").map { try $0.get("id", as: AppID.self) })
        }
    }

    public func knownBuilds(_ app: AppID) async throws(PaaSError) -> Set<BuildID> {
        try await read { session in
            Set(
                try session.rows("select id from builds where app_id = \(app)").map {
                    try $0.get("id", as: BuildID.self)
                })
        }
    }
}

extension PostgresSession {
    /// The newest other build of the same commit of the app on the same stack that made a slug.
    fileprivate func comparison(_ build: Build, _ provenance: Provenance) throws -> Build.Comparison? {
        guard let commit = build.source.commit else { return nil }
        let row = try first(
            """
            select b.number, b.release, b.slug, p.provenance from builds b
                left join build_provenance p on p.build_id = b.id
            where b.app_id = \(build.app) and b.state = 'succeeded' and b.source->>'commit' = \(commit)
                and b.stack = \(build.stack) and b.number < \(build.number) and b.slug is not null
            order by b.number desc limit 1
            """)
        guard let row else { return nil }
        let before: Provenance? = try row.optionalJSON("provenance")
        return Build.Comparison(
            build: try row.get("number"), release: try row.get("release"), slug: try row.get("slug"),
            differences: before.map { provenance.differences(from: $0) } ?? [])
    }
}

extension Provenance {
    /// What can make another slug of the same commit, as far as it is recorded.
    fileprivate func differences(from before: Provenance) -> [String] {
        var found: [String] = []
        if stackDigest != before.stackDigest { found.append("the stack \(stack)") }
        if buildpacks != before.buildpacks { found.append("the buildpacks") }
        if builder != before.builder { found.append("the platform's version") }
        if Set(artifacts) != Set(before.artifacts) { found.append("what was downloaded") }
        return found
    }
}

extension StoreTransaction {
    /// What was found for the app is its setting from now on, unless it has one by now.
    fileprivate func pinBuildpacks(of build: BuildID, _ app: App) throws {
        guard app.buildpacks.isEmpty else { return }
        let pins: [String]? = try session.one("select pins from builds where id = \(build)").optionalJSON("pins")
        guard let pins, !pins.isEmpty else { return }
        try session.run("update apps set buildpacks = \(JSON(pins)), updated_at = \(now) where id = \(app.id)")
        record("app.updated", app: app, actor: nil, ["buildpacks": pins.joined(separator: " ")])
    }

    /// The row of a slug's file. The image's size can differ when an older image was made anew.
    fileprivate func writeSlug(_ slug: Slug) throws {
        try session.run(
            """
            insert into slugs (digest, size_bytes, image_bytes, created_at)
            values (\(slug.digest), \(slug.sizeBytes), \(slug.imageBytes), \(slug.createdAt))
            on conflict (digest) do update
                set image_bytes = excluded.image_bytes, created_at = excluded.created_at, removed_at = null
            """)
    }
}
