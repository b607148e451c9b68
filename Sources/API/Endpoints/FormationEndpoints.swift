import Domain
import HTTPTypes
import Hummingbird

/// `/apps/{app}/formation`: GET, and PATCH with absolute counts.
struct FormationEndpoints: Sendable {
    let dependencies: APIDependencies

    var routes: [Route] {
        [
            Route(.get, "/api/v1/apps/{app}/formation", get),
            Route(.patch, "/api/v1/apps/{app}/formation", patch),
        ]
    }

    @Sendable private func get(_ request: APIRequest) async throws -> Response {
        let app = try await dependencies.app(request)
        let (entries, generation) = try await dependencies.store.formation(app.id)
        return Reply.json(Shapes.formation(entries), headers: [.eTag: EntityTag.text(generation)])
    }

    @Sendable private func patch(_ request: APIRequest) async throws -> Response {
        try request.requireChange()
        let app = try await dependencies.app(request)
        let changes = try Self.changes(try await request.json())
        let result = try await dependencies.store.patchFormation(
            app.id, changes: changes, ifMatch: try EntityTag.ifMatch(request.headers), actor: request.principal,
            now: request.now)
        dependencies.faults.reached(.releaseRecorded)
        dependencies.scheduler.wake(app.id)
        return Reply.accepted(result.operation, headers: [.eTag: EntityTag.text(result.generation)])
    }

    static func changes(_ json: JSONValue) throws(PaaSError) -> [String: FormationChange] {
        guard let members = json.members else {
            throw PaaSError(
                .malformed, "the body must be a JSON object as in {\"web\":3}, not \(json.kindDescription)")
        }
        guard !members.isEmpty else {
            throw PaaSError(.invalid, "the body names no process type; send {\"TYPE\":COUNT}")
        }
        var changes: [String: FormationChange] = [:]
        for member in members {
            try Names.validateShort(member.name, "process type")
            changes[member.name] = try change(member.value, type: member.name)
        }
        return changes
    }

    private static func change(_ json: JSONValue, type: String) throws(PaaSError) -> FormationChange {
        switch json {
        case .integer, .number: return FormationChange(quantity: try quantity(json, type))
        case .object: break
        default: throw JSONFields.wrongKind(type, "a count or an object", json)
        }
        let fields = try JSONFields(json, allowed: ["quantity", "memory", "cpu", "qos"], what: "formation of \(type)")
        var change = FormationChange()
        if let value = fields.value("quantity") { change.quantity = try quantity(value, "\(type).quantity") }
        if let value = fields.value("memory") { change.memoryBytes = try memory(value, "\(type).memory") }
        if let value = fields.value("cpu") { change.cpuMillis = try cpu(value, "\(type).cpu") }
        change.qos = try fields.choice("qos", [.guaranteed, .burstable])
        return change
    }

    private static func quantity(_ json: JSONValue, _ name: String) throws(PaaSError) -> Int {
        guard let count = json.integerValue else { throw JSONFields.wrongKind(name, "a whole number", json) }
        guard (0...Int64(FormationEntry.maximumQuantity)).contains(count) else {
            throw JSONFields.impossible(name, "must be from 0 to \(FormationEntry.maximumQuantity)")
        }
        return Int(count)
    }

    private static func memory(_ json: JSONValue, _ name: String) throws(PaaSError) -> Int64 {
        let bytes: Int64?
        switch json {
        case .string(let text): bytes = ByteQuantity.parse(text)
        case .integer(let value): bytes = value
        default: throw JSONFields.wrongKind(name, "an amount as in \"256Mi\"", json)
        }
        guard let bytes, Limits.memoryBytes.contains(bytes) else {
            throw JSONFields.impossible(name, "must be an amount \(Limits.memoryText), as in \"256Mi\"")
        }
        return bytes
    }

    private static func cpu(_ json: JSONValue, _ name: String) throws(PaaSError) -> Int {
        guard let cores = json.numberValue else { throw JSONFields.wrongKind(name, "a number of cores", json) }
        guard let millis = Int(exactly: (cores * 1000).rounded()), Limits.cpuMillis.contains(millis) else {
            throw JSONFields.impossible(name, "must be \(Limits.cpuText)")
        }
        return millis
    }
}
