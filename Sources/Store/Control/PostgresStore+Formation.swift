public import Domain
import Postgres

extension PostgresStore {
    public func formation(_ app: AppID) async throws(PaaSError) -> (entries: Formation, generation: Int64) {
        try await read { session in
            let app = try session.app(app)
            return (try session.formation(app.id), app.generation)
        }
    }

    public func patchFormation(
        _ id: AppID, changes: [String: FormationChange], ifMatch: Int64?, actor: Principal, now: Timestamp
    ) async throws(PaaSError) -> (entries: Formation, generation: Int64, operation: Operation) {
        for (type, change) in changes.sorted(by: { $0.key < $1.key }) { try Self.validate(type, change) }
        return try await write(now: now) { transaction in
            let session = transaction.session
            let app = try transaction.lockApp(id, for: actor)
            if let ifMatch, ifMatch != app.generation {
                throw PaaSError(
                    .preconditionFailed,
                    "the formation is at generation \(app.generation), not \(ifMatch); read it again, then retry")
            }
            let before = try session.formation(id)
            let known = try session.knownTypes(app)
            var entries = before
            for (type, change) in changes.sorted(by: { $0.key < $1.key }) {
                if let known, !known.contains(type) {
                    // What an older release left behind can still be put to 0.
                    guard before[type] != nil, change.quantity == 0 else {
                        throw PaaSError.unknownType(type, known: known)
                    }
                }
                var entry = entries[type] ?? FormationEntry(quantity: 0)
                entry.quantity = change.quantity ?? entry.quantity
                entry.memoryBytes = change.memoryBytes ?? entry.memoryBytes
                entry.cpuMillis = change.cpuMillis ?? entry.cpuMillis
                entry.qos = change.qos ?? entry.qos
                entries[type] = entry
            }
            let target = "\(app.path)/formation"
            let scope = changes.keys.sorted()
            let open = try transaction.openOperations(app, .scale).filter { operation in
                operation.scope.isEmpty || operation.scope.contains(where: scope.contains)
            }
            if entries == before {
                if let newest = open.first { return (entries, app.generation, newest) }
                let operation = try transaction.openOperation(
                    .scale, app: app, target: target, scope: scope, completed: true)
                return (entries, app.generation, operation)
            }
            for (type, entry) in entries.sorted(by: { $0.key < $1.key }) where before[type] != entry {
                try transaction.writeFormation(app, type: type, entry, byHand: true)
                // A place that is given up has no history for whoever asks for it again.
                try session.run(
                    "delete from slots where app_id = \(id) and type = \(type) and index > \(entry.quantity)")
                // What runs got its limits when it was started.
                if let old = before[type], (old.memoryBytes, old.cpuMillis) != (entry.memoryBytes, entry.cpuMillis) {
                    _ = try transaction.askForReplacement(in: app, type: type, index: nil)
                }
            }
            try session.run(
                "update apps set generation = generation + 1, updated_at = \(now) where id = \(id)")
            for operation in open {
                try transaction.closeOperation(
                    operation.id, .cancelled,
                    error: ErrorReport(
                        code: .cancelled, message: "a newer change of the formation took its place"))
            }
            // Without a release there is nothing to start or stop.
            let operation = try transaction.openOperation(
                .scale, app: app, target: target, scope: scope, completed: known == nil)
            transaction.record(
                "formation.changed", app: app, actor: actor.name,
                changes.reduce(into: ["generation": "\(app.generation + 1)"]) { data, change in
                    data[change.key] = entries[change.key].map { "\($0.quantity)" }
                })
            return (entries, app.generation + 1, operation)
        }
    }

    private static func validate(_ type: String, _ change: FormationChange) throws(PaaSError) {
        try Names.validateShort(type, "process type")
        func refuse(_ what: String, _ reason: String) -> PaaSError {
            PaaSError(
                .invalid, "\(what) of \(type) \(reason)", invalidParameters: [.init(name: type, reason: reason)])
        }
        if ReleaseRun.Kind(rawValue: type) != nil {
            throw refuse("the quantity", "can't be set: \(type) is run once for a release, and can't be scaled")
        }
        if let quantity = change.quantity, !(0...FormationEntry.maximumQuantity).contains(quantity) {
            throw refuse("the quantity", "must be from 0 to \(FormationEntry.maximumQuantity)")
        }
        if let memory = change.memoryBytes, !Limits.memoryBytes.contains(memory) {
            throw refuse("the memory", "must be \(Limits.memoryText)")
        }
        if let cpu = change.cpuMillis, !Limits.cpuMillis.contains(cpu) {
            throw refuse("the cpu", "must be \(Limits.cpuText)")
        }
        if change.qos == .guaranteed {
            throw refuse(
                "the qos", "can't be guaranteed: this version reserves nothing; leave it out, or use burstable")
        }
    }
}
