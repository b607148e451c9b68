public import Domain
import Postgres

extension PostgresStore {
    static let memoryRange: ClosedRange<Int64> = (16 << 20)...(1 << 40)
    static let cpuRange = 10...1_024_000

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
            if entries == before {
                if let row = try session.first(
                    """
                    select * from operations where app_id = \(id) and kind = 'scale' and finished_at is null
                    order by started_at desc limit 1
                    """)
                {
                    return (entries, app.generation, try Operation(row))
                }
                let operation = try transaction.openOperation(.scale, app: app, target: target, completed: true)
                return (entries, app.generation, operation)
            }
            for (type, entry) in entries where before[type] != entry {
                try transaction.writeFormation(app, type: type, entry)
            }
            try session.run(
                "update apps set generation = generation + 1, updated_at = \(now) where id = \(id)")
            try transaction.cancelOperations(app, .scale, because: "a newer change of the formation took its place")
            // Without a release there is nothing to start or stop.
            let operation = try transaction.openOperation(.scale, app: app, target: target, completed: known == nil)
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
        if type == "release" {
            throw refuse("the quantity", "can't be set: the platform runs it once for each release")
        }
        if let quantity = change.quantity, !(0...FormationEntry.maximumQuantity).contains(quantity) {
            throw refuse("the quantity", "must be from 0 to \(FormationEntry.maximumQuantity)")
        }
        if let memory = change.memoryBytes, !memoryRange.contains(memory) {
            throw refuse("the memory", "must be from 16Mi to 1Ti")
        }
        if let cpu = change.cpuMillis, !cpuRange.contains(cpu) {
            throw refuse("the cpu", "must be from 0.01 to 1024 cores")
        }
    }
}
