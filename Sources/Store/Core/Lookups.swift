import Domain
import Postgres

extension PostgresSession {
    func findApp(_ id: AppID) throws -> App? { try first("\(Rows.apps) where a.id = \(id)").map { try App($0) } }

    func findApp(named name: String) throws -> App? {
        // A name that can't be an app's is not worth a question; it may also hold what text columns can't.
        guard name.utf8.count <= 30, !name.utf8.contains(0) else { return nil }
        return try first("\(Rows.apps) where a.name = \(name)").map { try App($0) }
    }

    func app(_ id: AppID) throws -> App {
        guard let app = try findApp(id) else { throw PaaSError(.notFound, "the app does not exist any more") }
        return app
    }

    func findSpace(named name: String) throws -> Space? {
        guard name.utf8.count <= 30, !name.utf8.contains(0) else { return nil }
        return try first("select * from spaces where name = \(name)").map { try Space($0) }
    }

    func findBuild(_ id: BuildID) throws -> Build? {
        try first("select * from builds where id = \(id)").map { try Build($0) }
    }

    func findRelease(_ app: AppID, version: Int) throws -> Release? {
        try first("select * from releases where app_id = \(app) and version = \(version)").map { try Release($0) }
    }

    /// The newest release that waits or rolls out.
    func candidate(_ app: AppID) throws -> Release? {
        try first(
            """
            select * from releases where app_id = \(app) and state in ('pending', 'rolling')
            order by version desc limit 1
            """
        ).map { try Release($0) }
    }

    func formation(_ app: AppID) throws -> Formation {
        var formation: Formation = [:]
        for row in try rows("select * from formation_entries where app_id = \(app)") {
            formation[try row.get("type")] = try FormationEntry(row)
        }
        return formation
    }

    func ports(_ app: AppID) throws -> [PortBinding] {
        try rows("select * from port_bindings where app_id = \(app) order by created_at, name").map {
            try PortBinding($0)
        }
    }

    /// Process types that can be scaled and exposed now; nil if there is no release yet, so that any is fine.
    func knownTypes(_ app: App) throws -> [String]? {
        let current = try app.currentRelease.flatMap { try findRelease(app.id, version: $0) }
        let candidate = try candidate(app.id)
        if current == nil && candidate == nil { return nil }
        let types = Set(current?.processTypes.keys.map { $0 } ?? []).union(
            candidate?.processTypes.keys.map { $0 } ?? [])
        return types.subtracting(["release"]).sorted()
    }
}

extension PaaSError {
    static func noApp(_ name: String) -> PaaSError {
        PaaSError(.notFound, "app \(Names.quoted(name)) does not exist, or is not yours; see: paasctl apps")
    }

    static func unknownType(_ type: String, known: [String]) -> PaaSError {
        let list = known.isEmpty ? "it declares none" : "it has: \(known.joined(separator: ", "))"
        return PaaSError(
            .invalid, "the app has no process type \(Names.quoted(type)); \(list)",
            invalidParameters: [.init(name: type, reason: "unknown process type")])
    }
}

extension StoreTransaction {
    /// The app, locked until the commit.
    /// - Throws: `notFound`.
    func lockApp(_ id: AppID) throws -> App {
        guard let row = try session.first("\(Rows.apps) where a.id = \(id) for no key update of a") else {
            throw PaaSError(.notFound, "the app does not exist any more")
        }
        return try App(row)
    }

    /// The app, locked, for a change by a caller.
    /// - Throws: `notFound` if the caller may not know of it, `forbidden` if it may not change it, `conflict` if the app
    ///   is being deleted.
    func lockApp(_ id: AppID, for actor: Principal) throws -> App {
        let app = try lockApp(id)
        guard actor.maySee(space: app.space) else { throw PaaSError.noApp(app.name) }
        guard actor.mayChangeApps else {
            throw PaaSError(.forbidden, "role \(actor.role.rawValue) may look, not change; use another token")
        }
        try requireAlive(app)
        return app
    }

    func requireAlive(_ app: App) throws {
        if app.deleting {
            throw PaaSError(.conflict, "app \(app.name) is being deleted; wait until it is gone, then create it again")
        }
    }

    /// - Parameter scope: the process types or processes that it is about; empty: all of the app.
    func openOperation(
        _ kind: Operation.Kind, app: App, target: String, scope: [String] = [], completed: Bool = false
    ) throws -> Operation {
        let operation = Operation(
            id: .random(), kind: kind, app: app.id, target: target, scope: scope,
            state: completed ? .completed : .starting, progress: completed ? 1 : 0, startedAt: now,
            finishedAt: completed ? now : nil)
        try session.run(
            """
            insert into operations (id, kind, app_id, space_id, target, scope, state, automatic, progress, started_at,
                finished_at)
            values (\(operation.id), \(kind.rawValue), \(app.id), \(app.space), \(target), \(JSON(scope)),
                \(operation.state.rawValue), \(operation.automatic), \(operation.progress), \(now),
                \(operation.finishedAt))
            """)
        return operation
    }

    /// What is under way of one kind, newest first.
    func openOperations(_ app: App, _ kind: Operation.Kind) throws -> [Operation] {
        try session.rows(
            """
            select * from operations where app_id = \(app.id) and kind = \(kind.rawValue) and finished_at is null
            order by started_at desc, id
            """
        ).map { try Operation($0) }
    }

    /// Ends an operation unless it has ended.
    func closeOperation(_ id: OperationID, _ state: Operation.State, error: ErrorReport? = nil) throws {
        try session.run(
            """
            update operations set state = \(state.rawValue), error = \(error.map { JSON($0.cleaned) }),
                finished_at = \(now), progress = case when \(state == .completed) then 1 else progress end
            where id = \(id) and finished_at is null
            """)
    }

    /// Cancels what is under way of one kind.
    func cancelOperations(_ app: App, _ kind: Operation.Kind, because reason: String) throws {
        try session.run(
            """
            update operations set state = 'cancelled', finished_at = \(now),
                error = \(JSON(ErrorReport(code: .cancelled, message: reason)))
            where app_id = \(app.id) and kind = \(kind.rawValue) and finished_at is null
            """)
    }
}

extension ErrorReport {
    /// In a form that the database can hold.
    var cleaned: ErrorReport { ErrorReport(code: code, message: withoutNUL(message)) }
}
