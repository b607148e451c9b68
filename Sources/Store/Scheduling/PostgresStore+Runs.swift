public import Domain
import Postgres

extension PostgresStore {
    public func beginRun(
        _ kind: ReleaseRun.Kind, version: Int, instance: ProcessInstance, epoch: Int64, now: Timestamp
    ) async throws(PaaSError) {
        try await write(epoch: epoch, now: now) { transaction in
            let session = transaction.session
            let (release, app) = try transaction.lockRelease(instance.app, version)
            let run = try transaction.run(kind, version: version, app: app)
            // A repetition after an answer that got lost.
            if run.state == .running, run.instance == instance.id { return }
            let isDue = try session.dueRuns(app.id).contains { $0.kind == kind && $0.version == version }
            guard run.state == .pending, isDue, !app.deleting else {
                throw PaaSError(
                    .conflict, "\(run.name) of app \(app.name) is not to be begun: it is \(run.state.rawValue)")
            }
            try session.run(
                """
                update release_runs set state = 'running', instance_id = \(instance.id), started_at = \(now)
                where app_id = \(app.id) and version = \(version) and kind = \(kind.rawValue)
                """)
            try session.run(
                """
                insert into instances (id, app_id, type, index, release, generation, epoch, state, restarts, boot_id,
                    created_at, since, replace_requested)
                values (\(instance.id), \(app.id), \(instance.type), \(instance.index), \(instance.release),
                    \(instance.generation), \(epoch), 'planned', 0, \(instance.bootID), \(now), \(now), false)
                """)
            transaction.record(
                "run.started", app: app, actor: release.createdBy, ["run": run.name, "release": "\(version)"])
        }
    }

    public func endRun(_ id: AppID, _ end: ReleaseRunEnd, output: String, epoch: Int64, now: Timestamp)
        async throws(PaaSError)
    {
        try await write(epoch: epoch, now: now) { transaction in
            let session = transaction.session
            let (release, app) = try transaction.lockRelease(id, end.version)
            // None: a process of a type of that name, from before those names were reserved. It only has to go.
            let run = try transaction.findRun(end.kind, version: end.version, app: app)
            if let run, run.instance != end.instance {
                throw PaaSError(.internal, "\(run.name) of app \(app.name) has another instance than \(end.instance)")
            }
            try session.run(
                """
                update instances set state = \(end.isOver ? "exited" : "stopping"), since = \(now),
                    exit_code = \(end.exitCode),
                    unrouted_revision = coalesce(unrouted_revision, \(try transaction.routingRevision()))
                where id = \(end.instance) and state <> 'exited'
                """)
            guard let run else { return }
            let output = withoutNUL(output)
            // One that was stopped has its end recorded already, but not what it wrote until then.
            try session.run(
                """
                update release_runs set output = \(output), exit_code = coalesce(exit_code, \(end.exitCode))
                where app_id = \(id) and version = \(end.version) and kind = \(end.kind.rawValue)
                """)
            guard run.state == .running else { return }
            try transaction.conclude(run, end, output: output, release: release, app: app)
        }
    }
}

extension StoreTransaction {
    fileprivate func run(_ kind: ReleaseRun.Kind, version: Int, app: App) throws -> ReleaseRun {
        guard let run = try findRun(kind, version: version, app: app) else {
            throw PaaSError(.notFound, "app \(app.name) has no run \(kind.rawValue).\(version)")
        }
        return run
    }

    fileprivate func findRun(_ kind: ReleaseRun.Kind, version: Int, app: App) throws -> ReleaseRun? {
        let row = try session.first(
            """
            select * from release_runs where app_id = \(app.id) and version = \(version) and kind = \(kind.rawValue)
            for update
            """)
        return try row.map { try ReleaseRun($0) }
    }

    fileprivate func conclude(
        _ run: ReleaseRun, _ end: ReleaseRunEnd, output: String, release: Release, app: App
    ) throws {
        var state = ReleaseRun.State.failed
        var reason: String?
        var event = "run.failed"
        switch end.result {
        case .succeeded: (state, event) = (.succeeded, "run.succeeded")
        case .failed(let why): reason = withoutNUL(why)
        case .stopped: (reason, event) = ("stopped by the platform", "run.stopped")
        }
        try session.run(
            """
            update release_runs set state = \(state.rawValue), reason = \(reason), finished_at = \(now)
            where app_id = \(app.id) and version = \(run.version) and kind = \(run.kind.rawValue)
            """)
        var data = ["run": run.name, "release": "\(run.version)"]
        data["exitCode"] = end.exitCode.map { "\($0)" }
        data["reason"] = reason.map { String($0.prefix(500)) }
        record(event, app: app, actor: nil, data)
        guard run.kind == .release, release.state == .pending || release.state == .rolling else { return }
        if state == .succeeded {
            try session.run("update releases set output = \(output) where id = \(release.id)")
        } else {
            let lines = output.isEmpty ? "\n\(run.name) wrote nothing" : "\nOutput of \(run.name):\n\(output)"
            try fail(release, app: app, output: (reason ?? "\(run.name) was stopped") + lines)
        }
    }
}

extension PostgresSession {
    /// Runs that are to be begun or that are running, as `AppSnapshot.runs`; without what they wrote.
    func dueRuns(_ app: AppID) throws -> [ReleaseRun] {
        try rows(
            """
            select u.app_id, u.version, u.kind, u.state, u.command, u.instance_id, u.exit_code, u.reason,
                null::text as output, u.started_at, u.finished_at
            from release_runs u join releases r on r.app_id = u.app_id and r.version = u.version
            where u.app_id = \(app) and u.state in ('pending', 'running')
                and case u.kind when 'release' then r.state in ('pending', 'rolling') else r.was_current end
            order by u.version, u.kind desc
            """
        ).map { try ReleaseRun($0) }
    }
}
