import Domain

/// What is known of the routers: from the store for the time before this program started, from themselves since.
struct RouterRegistry: Sendable {
    private struct Entry: Sendable {
        var mark: RoutingTable.Mark?
        var recordedRevision: Int64
        var isRecorded: Bool
        var connections: Int
        var awaySince: Timestamp
        var draining: [InstanceID: Int]?
        /// The run of the router's program that reported last, the one before it, and how far the last one counted.
        var start: String?
        var pastStart: String?
        var sequence: Int64 = 0
    }

    private var routers: [String: Entry] = [:]
    private(set) var tableID: String?

    /// - Parameter tableID: of the present table.
    mutating func load(_ records: [RouterRecord], tableID: String, now: Timestamp, forgetAfterSeconds: Double) {
        self.tableID = tableID
        let recorded = Set(records.map(\.id))
        for record in records {
            var entry =
                routers[record.id]
                ?? Entry(recordedRevision: -1, isRecorded: true, connections: 0, awaySince: now)
            entry.isRecorded = true
            entry.recordedRevision = max(entry.recordedRevision, record.revision)
            routers[record.id] = entry
        }
        // Removed by the operator, or never known: once it is away for long it no longer counts.
        routers = routers.filter { id, entry in
            recorded.contains(id) || entry.connections > 0 || now.seconds(since: entry.awaySince) < forgetAfterSeconds
        }
    }

    mutating func connected(_ id: String, now: Timestamp) {
        var entry = routers[id] ?? Entry(recordedRevision: -1, isRecorded: false, connections: 0, awaySince: now)
        entry.connections += 1
        entry.draining = nil
        routers[id] = entry
    }

    mutating func disconnected(_ id: String, now: Timestamp) {
        guard var entry = routers[id], entry.connections > 0 else { return }
        entry.connections -= 1
        if entry.connections == 0 {
            entry.awaySince = now
            entry.draining = nil
        }
        routers[id] = entry
    }

    /// False if a later report of the router overtook this one.
    mutating func acknowledged(_ id: String, _ ack: RouterAcknowledgement, now: Timestamp) -> Bool {
        var entry = routers[id] ?? Entry(recordedRevision: -1, isRecorded: false, connections: 0, awaySince: now)
        if ack.sequence == 0 {
            // It counts nothing: only an older table tells that it is late.
            if let old = entry.mark, old.tableID == ack.mark.tableID, old.revision > ack.mark.revision { return false }
        } else if ack.start == entry.start {
            if ack.sequence <= entry.sequence { return false }
            entry.sequence = ack.sequence
        } else {
            if ack.start == entry.pastStart { return false }
            entry.pastStart = entry.start
            entry.start = ack.start
            entry.sequence = ack.sequence
        }
        entry.mark = ack.mark
        entry.draining = ack.draining
        routers[id] = entry
        return true
    }

    func facts() -> [RouterFact] {
        routers.sorted { $0.key < $1.key }.map { id, entry in
            var revision = entry.recordedRevision
            if let mark = entry.mark, mark.tableID == tableID { revision = max(revision, mark.revision) }
            return RouterFact(
                id: id, revision: revision, awaySince: entry.connections > 0 ? nil : entry.awaySince,
                draining: entry.mark?.tableID == tableID ? entry.draining : nil)
        }
    }
}
