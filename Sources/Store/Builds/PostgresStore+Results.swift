public import Domain
import Postgres

extension PostgresStore {
    public func recordSlug(_ slug: Slug, build id: BuildID) async throws(PaaSError) {
        try await write(now: slug.createdAt) { transaction in
            _ = try transaction.lockBuild(id)
            try transaction.writeSlug(slug)
            try transaction.session.run(
                """
                update builds set slug = \(slug.digest), process_types = \(JSON(slug.processTypes)) where id = \(id)
                """)
        }
    }

    public func completeBuild(_ id: BuildID, slug: Slug, portRange: ClosedRange<UInt16>, now: Timestamp)
        async throws(PaaSError) -> Release?
    {
        try await write(now: now) { transaction in
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
                let recipe = ReleaseRecipe(
                    slug: slug.digest, stack: slug.stack, commit: build.source.commit,
                    processTypes: slug.processTypes, configVersion: app.configVersion,
                    description: Self.describe(build), createdBy: build.createdBy)
                release = try transaction.createRelease(recipe, app: app, operation: .release, portRange: portRange)
                    .release
            }
            // Nothing to move: not a push, or one that makes no release.
            let refMoved = build.source.kind != .push || build.options.buildOnly
            try session.run(
                """
                update builds set state = 'succeeded', slug = \(slug.digest),
                    process_types = \(JSON(slug.processTypes)), release = \(release?.version), ref_moved = \(refMoved), finished_at = \(now), started_at = coalesce(started_at, \(now))
                where id = \(id)
                """)
            if let operation = build.operation { try transaction.closeOperation(operation, .completed) }
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

extension StoreTransaction {
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
