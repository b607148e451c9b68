public import Domain
import Postgres

extension PostgresStore {
    /// Characters of a failed rollout's output that are kept.
    static let maximumOutput = 65_536

    public func markRolling(_ id: AppID, version: Int, epoch: Int64, now: Timestamp) async throws(PaaSError) {
        try await write(epoch: epoch, now: now) { transaction in
            let (release, app) = try transaction.lockRelease(id, version)
            if release.state == .rolling { return }
            guard release.state == .pending else { throw Self.notOnItsWay(release, app) }
            try transaction.session.run(
                "update releases set state = 'rolling', started_at = \(now) where id = \(release.id)")
            try transaction.session.run(
                """
                update operations set state = 'processing'
                where id = \(release.operation) and finished_at is null
                """)
            transaction.record("release.rolling", app: app, actor: nil, ["version": "\(version)"])
        }
    }

    public func markCurrent(_ id: AppID, version: Int, epoch: Int64, now: Timestamp) async throws(PaaSError) {
        try await write(epoch: epoch, now: now) { transaction in
            let session = transaction.session
            let (release, app) = try transaction.lockRelease(id, version)
            if release.state == .current { return }
            guard release.state == .pending || release.state == .rolling else {
                throw Self.notOnItsWay(release, app)
            }
            try session.run(
                "update releases set state = 'superseded' where app_id = \(id) and state = 'current'")
            try session.run(
                """
                update releases set state = 'current', was_current = true,
                    started_at = coalesce(started_at, \(now)) where id = \(release.id)
                """)
            try session.run(
                "update apps set current_release = \(version), updated_at = \(now) where id = \(id)")
            if let operation = release.operation { try transaction.closeOperation(operation, .completed) }
            transaction.record("release.current", app: app, actor: nil, ["version": "\(version)"])
        }
    }

    public func markReleaseFailed(_ id: AppID, version: Int, output: String, epoch: Int64, now: Timestamp)
        async throws(PaaSError)
    {
        try await write(epoch: epoch, now: now) { transaction in
            let (release, app) = try transaction.lockRelease(id, version)
            if release.state == .failed { return }
            guard release.state == .pending || release.state == .rolling else {
                throw Self.notOnItsWay(release, app)
            }
            try transaction.fail(release, app: app, output: output)
        }
    }

    private static func notOnItsWay(_ release: Release, _ app: App) -> PaaSError {
        PaaSError(.conflict, "release v\(release.version) of app \(app.name) is \(release.state.rawValue)")
    }
}

extension StoreTransaction {
    /// - Parameter output: the reason, further lines after it. What the release phase wrote stays after them.
    func fail(_ release: Release, app: App, output: String) throws {
        let output = withoutNUL(String(output.prefix(PostgresStore.maximumOutput)))
        var kept = output
        if let earlier = release.output, !earlier.isEmpty {
            kept += "\nOutput of release.\(release.version):\n\(earlier)"
        }
        try session.run("update releases set state = 'failed', output = \(kept) where id = \(release.id)")
        try supersedeRuns(app, version: release.version)
        if let operation = release.operation {
            try closeOperation(
                operation, .failed,
                error: ErrorReport(code: .appFailed, message: "release v\(release.version) failed: \(output)"))
        }
        let reason = String(output.split(whereSeparator: \.isNewline).first ?? "").prefix(500)
        record("release.failed", app: app, actor: nil, ["version": "\(release.version)", "reason": String(reason)])
    }

    func lockRelease(_ id: AppID, _ version: Int) throws -> (release: Release, app: App) {
        let app = try lockApp(id)
        guard let release = try session.findRelease(id, version: version) else {
            throw PaaSError(.notFound, "app \(app.name) has no release v\(version)")
        }
        return (release, app)
    }
}
