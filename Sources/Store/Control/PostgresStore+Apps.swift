public import Domain
import Postgres

extension PostgresStore {
    /// Stack of an app that names none.
    public static let defaultStack = "debian-13"

    public func apps(for principal: Principal) async throws(PaaSError) -> [App] {
        try await read { session in
            try session.rows(
                """
                \(Rows.apps) where \(principal.space)::uuid is null or a.space_id = \(principal.space) order by a.name
                """
            ).map { try App($0) }
        }
    }

    public func app(named name: String, for principal: Principal) async throws(PaaSError) -> App {
        try await read { session in
            guard let app = try session.findApp(named: name), principal.maySee(space: app.space) else {
                throw PaaSError.noApp(name)
            }
            return app
        }
    }

    public func app(_ id: AppID) async throws(PaaSError) -> App { try await read { try $0.app(id) } }

    public func app(named name: String) async throws(PaaSError) -> App {
        try await read { session in
            guard let app = try session.findApp(named: name) else { throw PaaSError.noApp(name) }
            return app
        }
    }

    public func putApp(_ request: AppRequest, actor: Principal, now: Timestamp) async throws(PaaSError) -> (
        app: App, created: Bool
    ) {
        try Names.validate(request.name, "app")
        if let stack = request.stack { try Names.validate(stack, "stack") }
        try AppRules.validate(labels: request.labels)
        try AppRules.validate(buildpacks: request.buildpacks)
        guard actor.mayChangeApps else {
            throw PaaSError(.forbidden, "role \(actor.role.rawValue) may look, not change; use another token")
        }
        let capacity = capacity
        return try await write(now: now) { transaction in
            let session = transaction.session
            try session.run("select pg_advisory_xact_lock(\(Migrations.allocationLockKey))")
            if let app = try session.findApp(named: request.name) {
                guard actor.maySee(space: app.space) else {
                    throw PaaSError(
                        .conflict, "the app name \(request.name) is taken; names are platform-wide, choose another")
                }
                try transaction.requireAlive(app)
                try AppRules.requireSame(app, request)
                return (app, false)
            }
            let space = try Self.space(of: request, actor: actor, session)
            // A slot stays taken as long as the app's row is there, which goes last of all.
            let slot: Int = try session.one(
                """
                select coalesce((select 0 where not exists (select 1 from apps where uid_slot = 0)),
                    (select min(uid_slot) + 1 from apps a where not exists
                        (select 1 from apps n where n.uid_slot = a.uid_slot + 1))) as free
                """
            ).get("free")
            guard slot < capacity.apps else {
                throw PaaSError(
                    .exhausted,
                    "the host has uid ranges for \(capacity.apps) apps, and all are in use; delete an app, or ask the operator for a lower PAAS_UID_BASE"
                )
            }
            let app = App(
                id: .random(), name: request.name, space: space.id, spaceName: space.name,
                networkIndex: space.networkIndex, uidSlot: slot, stack: request.stack ?? Self.defaultStack,
                buildpacks: request.buildpacks, labels: request.labels, noPorts: request.noPorts, createdAt: now,
                updatedAt: now)
            try session.run(
                """
                insert into apps (id, name, space_id, uid_slot, stack, buildpacks, labels, no_ports, created_at,
                    updated_at)
                values (\(app.id), \(app.name), \(space.id), \(slot), \(app.stack), \(JSON(app.buildpacks)),
                    \(JSON(app.labels)), \(app.noPorts), \(now), \(now))
                """)
            transaction.record("app.created", app: app, actor: actor.name)
            return (app, true)
        }
    }

    private static func space(of request: AppRequest, actor: Principal, _ session: PostgresSession) throws -> Space {
        if request.space == nil, let own = actor.space {
            return try Space(session.one("select * from spaces where id = \(own)"))
        }
        let name = request.space ?? "default"
        guard let space = try session.findSpace(named: name), actor.maySee(space: space.id) else {
            throw PaaSError(.notFound, "space \(Names.quoted(name)) does not exist; see: paasctl spaces")
        }
        return space
    }

    public func patchApp(_ id: AppID, _ patch: AppPatch, actor: Principal, now: Timestamp) async throws(PaaSError)
        -> App
    {
        if let stack = patch.stack { try Names.validate(stack, "stack") }
        if let branch = patch.deployBranch { try AppRules.validate(branch: branch) }
        if let labels = patch.labels { try AppRules.validate(labels: labels) }
        if let buildpacks = patch.buildpacks { try AppRules.validate(buildpacks: buildpacks) }
        return try await write(now: now) { transaction in
            let before = try transaction.lockApp(id, for: actor)
            var app = before
            app.stack = patch.stack ?? app.stack
            app.deployBranch = patch.deployBranch ?? app.deployBranch
            app.buildpacks = patch.buildpacks ?? app.buildpacks
            app.labels = patch.labels ?? app.labels
            if app == before { return before }
            app.updatedAt = now
            try transaction.session.run(
                """
                update apps set stack = \(app.stack), deploy_branch = \(app.deployBranch),
                    buildpacks = \(JSON(app.buildpacks)), labels = \(JSON(app.labels)), updated_at = \(now)
                where id = \(id)
                """)
            transaction.record("app.updated", app: app, actor: actor.name)
            return app
        }
    }

    public func deleteApp(_ id: AppID, actor: Principal, now: Timestamp) async throws(PaaSError) -> Operation {
        try await write(now: now) { transaction in
            let session = transaction.session
            let app = try transaction.lockApp(id)
            if app.deleting, actor.maySee(space: app.space), actor.mayChangeApps,
                let row = try session.first(
                    """
                    select * from operations where app_id = \(id) and kind = \(Operation.Kind.deleteApp.rawValue)
                        and finished_at is null
                    """)
            {
                return try Operation(row)
            }
            _ = try transaction.lockApp(id, for: actor)
            try session.run("update apps set deleting = true, updated_at = \(now) where id = \(id)")
            try session.run(
                """
                update builds set cancel_requested = true where app_id = \(id) and state in ('queued', 'running')
                """)
            for kind in [Operation.Kind.release, .config, .scale, .replaceProcess] {
                try transaction.cancelOperations(app, kind, because: "app \(app.name) is being deleted")
            }
            let operation = try transaction.openOperation(.deleteApp, app: app, target: app.path)
            _ = try transaction.raiseRoutingRevision()
            transaction.record("app.deleting", app: app, actor: actor.name)
            return operation
        }
    }
}
