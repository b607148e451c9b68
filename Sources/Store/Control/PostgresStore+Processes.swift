public import Domain
import Postgres

extension PostgresStore {
    public func processes(_ app: AppID) async throws(PaaSError) -> [ProcessInstance] {
        try await read { session in
            try session.rows("select * from instances where app_id = \(app) order by type, index, created_at, id").map {
                try ProcessInstance($0)
            }
        }
    }

    public func replaceProcesses(_ id: AppID, matching name: String?, actor: Principal, now: Timestamp)
        async throws(PaaSError) -> Operation
    {
        let (type, index) = try Self.parse(process: name)
        return try await write(now: now) { transaction in
            let session = transaction.session
            let app = try transaction.lockApp(id, for: actor)
            let asked = try transaction.askForReplacement(in: app, type: type, index: index)
            if let name, asked == 0 {
                let isType = try index == nil && session.knownTypes(app)?.contains(name) == true
                guard isType else {
                    throw PaaSError(
                        .notFound,
                        "app \(app.name) has no process \(Names.quoted(name)); see: paasctl ps -a \(app.name)")
                }
            }
            let target = name.map { "\(app.path)/processes/\($0)" } ?? "\(app.path)/processes"
            let operation = try transaction.openOperation(
                .replaceProcess, app: app, target: target, scope: name.map { [$0] } ?? [], completed: asked == 0)
            transaction.record(
                "process.replace-requested", app: app, actor: actor.name, ["process": name ?? "all"])
            return operation
        }
    }

    /// `web.1`, `web`, or nil for all.
    private static func parse(process name: String?) throws(PaaSError) -> (type: String?, index: Int?) {
        guard let name else { return (nil, nil) }
        let parts = name.split(separator: ".", maxSplits: 1, omittingEmptySubsequences: false)
        let type = String(parts[0])
        do throws(PaaSError) {
            try Names.validateShort(type, "process type")
        } catch {
            throw PaaSError(.notFound, "there is no process \(Names.quoted(name)); see: paasctl ps")
        }
        if ReleaseRun.Kind(rawValue: type) != nil {
            throw PaaSError(
                .invalid,
                "\(name) is run once for its release and can't be replaced; a new release takes its place (push, paasctl config set, paasctl rollback)"
            )
        }
        guard parts.count == 2 else { return (type, nil) }
        guard let index = Int(parts[1]), (1...FormationEntry.maximumQuantity).contains(index) else {
            throw PaaSError(.notFound, "there is no process \(Names.quoted(name)); see: paasctl ps")
        }
        return (type, index)
    }
}

extension StoreTransaction {
    /// Live instances are to be replaced by fresh ones, and those that wait because they kept crashing are tried again at
    /// once. Returns how many there are of both.
    ///
    /// - Parameters:
    ///   - type: nil for all.
    ///   - index: nil for all of the type.
    func askForReplacement(in app: App, type: String?, index: Int?) throws -> Int {
        let marked = try session.run(
            """
            update instances set replace_requested = true
            where app_id = \(app.id) and state in ('planned', 'starting', 'up', 'unhealthy')
                and type not in ('release', 'postdeploy') and (\(type)::text is null or type = \(type)) and (\(index)::bigint is null or index = \(index))
            """
        ).affectedRows
        let waiting = try session.run(
            """
            update slots set restarts = 0, next_start_at = least(next_start_at, \(now))
            where app_id = \(app.id)
                and (\(type)::text is null or type = \(type)) and (\(index)::bigint is null or index = \(index))
                and exists (select 1 from formation_entries f where f.app_id = slots.app_id and f.type = slots.type
                    and f.quantity >= slots.index)
            """
        ).affectedRows
        return marked + waiting
    }
}
