import Domain
import Synchronization

/// What was seen of backends, apart from the table: a table says who should answer, this says who refused just now.
struct HealthMap {
    private struct Key: Hashable {
        var instance: InstanceID
        var port: UInt16
    }

    private var entries: [Key: BackendHealth] = [:]

    mutating func entry(_ instance: InstanceID, port: UInt16) -> BackendHealth {
        let key = Key(instance: instance, port: port)
        if let known = entries[key] { return known }
        let new = BackendHealth()
        entries[key] = new
        return new
    }

    mutating func forget(_ instances: Set<InstanceID>) {
        if !instances.isEmpty { entries = entries.filter { !instances.contains($0.key.instance) } }
    }
}

/// Passive health of one backend: written by any loop that met a refusal.
final class BackendHealth: Sendable {
    private let skippedUntil = Atomic<UInt64>(0)
    private let working = Atomic<Int>(0)

    /// Which of its addresses took the last connect.
    var workingAddress: Int {
        get { working.load(ordering: .relaxed) }
        set { working.store(newValue, ordering: .relaxed) }
    }

    func isSkipped(now: UInt64) -> Bool { skippedUntil.load(ordering: .relaxed) > now }
    func skip(until: UInt64) { skippedUntil.store(until, ordering: .relaxed) }
    func succeeded(address: Int) {
        if address != workingAddress { workingAddress = address }
        if skippedUntil.load(ordering: .relaxed) != 0 { skippedUntil.store(0, ordering: .relaxed) }
    }
}
