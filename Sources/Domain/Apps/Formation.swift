/// How many processes of one type, and how large each is.
public struct FormationEntry: Sendable, Codable, Hashable {
    public enum QualityOfService: String, Sendable, Codable { case guaranteed, burstable }

    public var quantity: Int
    public var memoryBytes: Int64
    /// Thousandths of a core.
    public var cpuMillis: Int
    public var qos: QualityOfService

    public static let maximumQuantity = 500

    public init(
        quantity: Int, memoryBytes: Int64 = 256 << 20, cpuMillis: Int = 500, qos: QualityOfService = .burstable
    ) {
        self.quantity = quantity
        self.memoryBytes = memoryBytes
        self.cpuMillis = cpuMillis
        self.qos = qos
    }
}

/// Process type to entry. A type that is not here has quantity 0.
public typealias Formation = [String: FormationEntry]

extension FormationEntry {
    /// What a first release runs: `web` → 1; no `web` and only one type → that one → 1; else nothing.
    public static func initial(processTypes: some Collection<String>) -> Formation {
        let types = processTypes.filter { ReleaseRun.Kind(rawValue: $0) == nil }
        var formation: Formation = [:]
        for type in types {
            let runs = type == "web" || (types.count == 1)
            formation[type] = FormationEntry(quantity: runs ? 1 : 0)
        }
        return formation
    }
}
