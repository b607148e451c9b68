public import Domain
import Postgres

extension PostgresStore: BuildStore {
    public func createBuild(_ request: BuildRequest, now: Timestamp) async throws(PaaSError) -> Build {
        try await write(now: now) { transaction in
            let session = transaction.session
            let app = try transaction.lockApp(request.app)
            // A repetition after an answer that got lost.
            if let known = try session.findBuild(request.id), known.app == request.app { return known }
            try transaction.requireAlive(app)
            if let row = try session.first(
                "select number from builds where app_id = \(app.id) and state in ('queued', 'running')")
            {
                let number: Int = try row.get("number")
                throw PaaSError(
                    .conflict,
                    "build \(number) of \(app.name) is still running; wait for it, or cancel it: paasctl builds cancel \(number) -a \(app.name)"
                )
            }
            let number: Int = try session.one(
                "update apps set last_build = last_build + 1 where id = \(app.id) returning last_build"
            ).get("last_build")
            let operation = try transaction.openOperation(
                .build, app: app, target: "\(app.path)/builds/\(number)")
            let build = Build(
                id: request.id, number: number, app: app.id, state: .queued, source: request.source,
                options: request.options, stack: app.stack, operation: operation.id, createdBy: request.createdBy,
                createdAt: now)
            try session.run(
                """
                insert into builds (id, app_id, number, state, source, options, stack, operation_id, created_by,
                    created_at)
                values (\(build.id), \(app.id), \(number), 'queued', \(JSON(build.source)), \(JSON(build.options)),
                    \(build.stack), \(operation.id), \(build.createdBy), \(now))
                """)
            transaction.record("build.queued", app: app, actor: build.createdBy, ["build": "\(number)"])
            return build
        }
    }

    public func build(_ id: BuildID) async throws(PaaSError) -> Build {
        try await read { session in
            guard let build = try session.findBuild(id) else { throw Self.noBuild("\(id)") }
            return build
        }
    }

    public func build(_ app: AppID, _ numberOrID: String) async throws(PaaSError) -> Build {
        try await read { session in
            var found: Build?
            if let number = Int(numberOrID) {
                found = try session.first("select * from builds where app_id = \(app) and number = \(number)").map {
                    try Build($0)
                }
            } else if let id = BuildID(numberOrID) {
                found = try session.findBuild(id)
            }
            guard let found, found.app == app else { throw Self.noBuild(numberOrID) }
            return found
        }
    }

    public func builds(_ app: AppID, limit: Int, before: Int?) async throws(PaaSError) -> [Build] {
        try await read { session in
            try session.rows(
                """
                select * from builds where app_id = \(app) and number < \(before ?? Int.max)
                order by number desc limit \(max(0, limit))
                """
            ).map { try Build($0) }
        }
    }

    public func activeBuilds() async throws(PaaSError) -> [Build] {
        try await read { session in
            try session.rows(
                "select * from builds where state in ('queued', 'running') order by created_at, number, id"
            ).map { try Build($0) }
        }
    }

    public func buildsAwaitingRef() async throws(PaaSError) -> [Build] {
        try await read { session in
            try session.rows(
                """
                select b.* from builds b join releases r on r.app_id = b.app_id and r.version = b.release
                where b.state = 'succeeded' and not b.ref_moved
                    and (r.was_current or (b.options->>'noWait')::boolean or (
                        -- Its code became current with a config that was changed in the midst of its rollout.
                        r.state = 'superseded' and exists (select 1 from releases n
                            where n.app_id = r.app_id and n.version > r.version and n.was_current
                                and not exists (select 1 from releases x
                                    where x.app_id = r.app_id and x.version > r.version and x.version <= n.version
                                        and (x.slug <> r.slug or x.commit_id is distinct from r.commit_id)))))
                order by b.created_at, b.number, b.id
                """
            ).map { try Build($0) }
        }
    }

    public func startBuild(_ id: BuildID, now: Timestamp) async throws(PaaSError) {
        try await write(now: now) { transaction in
            let (build, app) = try transaction.lockBuild(id)
            switch build.state {
            case .running: return
            case .queued: break
            case .succeeded, .failed, .cancelled:
                throw PaaSError(.conflict, "build \(build.number) of \(app.name) is \(build.state.rawValue) already")
            }
            try transaction.session.run(
                "update builds set state = 'running', started_at = \(now) where id = \(id)")
            try transaction.session.run(
                "update operations set state = 'processing' where id = \(build.operation) and finished_at is null")
            transaction.record("build.started", app: app, actor: build.createdBy, ["build": "\(build.number)"])
        }
    }

    public func recordReport(_ id: BuildID, buildpacks: [Build.UsedBuildpack], commit: String?, pins: [String])
        async throws(PaaSError)
    {
        try AppRules.validate(buildpacks: pins)
        try await write(now: .now()) { transaction in
            let (build, _) = try transaction.lockBuild(id)
            var source = build.source
            // What the caller named stays what is built.
            if source.commit == nil { source.commit = commit }
            try transaction.session.run(
                """
                update builds set buildpacks = \(JSON(buildpacks)), source = \(JSON(source)), pins = \(JSON(pins))
                where id = \(id)
                """)
        }
    }

    public func failBuild(_ id: BuildID, state: Build.State, error: ErrorReport, now: Timestamp)
        async throws(PaaSError)
    {
        guard state == .failed || state == .cancelled else {
            throw PaaSError(.internal, "a build can't fail into state \(state.rawValue)")
        }
        try await write(now: now) { transaction in
            let (build, app) = try transaction.lockBuild(id)
            if build.state.isFinal { return }
            let report = error.cleaned
            try transaction.session.run(
                """
                update builds set state = \(state.rawValue), error = \(JSON(report)), finished_at = \(now)
                where id = \(id)
                """)
            if let operation = build.operation {
                try transaction.closeOperation(operation, state == .failed ? .failed : .cancelled, error: report)
            }
            transaction.record(
                "build.\(state.rawValue)", app: app, actor: build.createdBy,
                ["build": "\(build.number)", "reason": report.message])
        }
    }

    public func requestCancel(_ id: BuildID, now: Timestamp) async throws(PaaSError) -> Bool {
        try await write(now: now) { transaction in
            let (build, app) = try transaction.lockBuild(id)
            if build.state.isFinal { return false }
            let changed = try transaction.session.run(
                "update builds set cancel_requested = true where id = \(id) and not cancel_requested")
            if changed.affectedRows > 0 {
                transaction.record("build.cancel-requested", app: app, actor: nil, ["build": "\(build.number)"])
            }
            return true
        }
    }

    public func cancelRequested(_ id: BuildID) async throws(PaaSError) -> Bool {
        try await read { session in
            guard let row = try session.first("select cancel_requested from builds where id = \(id)") else {
                throw Self.noBuild("\(id)")
            }
            return try row.get("cancel_requested")
        }
    }

    static func noBuild(_ name: String) -> PaaSError {
        PaaSError(.notFound, "the app has no build \(Names.quoted(name)); see: paasctl builds")
    }
}

extension StoreTransaction {
    /// A build with its app, both locked: the app first, as everywhere.
    func lockBuild(_ id: BuildID) throws -> (build: Build, app: App) {
        guard let found = try session.findBuild(id) else { throw PostgresStore.noBuild("\(id)") }
        let app = try lockApp(found.app)
        guard let row = try session.first("select * from builds where id = \(id) for update") else {
            throw PostgresStore.noBuild("\(id)")
        }
        return (try Build(row), app)
    }
}
