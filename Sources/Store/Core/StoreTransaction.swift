import Domain
import Postgres

/// A transaction that changes things, with the events it will append. They are written last, right before the commit, so
/// that the row that numbers them is locked for the shortest time.
final class StoreTransaction {
    let session: PostgresSession
    let now: Timestamp
    private var events: [PendingEvent] = []

    private struct PendingEvent {
        var kind: String
        var app: String?
        var spaceID: SpaceID?
        var space: String?
        var actor: String?
        var data: [String: String]
    }

    init(_ session: PostgresSession, now: Timestamp) {
        self.session = session
        self.now = now
    }

    func record(_ kind: String, app: App?, actor: String?, _ data: [String: String] = [:]) {
        events.append(
            PendingEvent(
                kind: kind, app: app?.name, spaceID: app?.space, space: app?.spaceName, actor: actor, data: data))
    }

    func record(_ kind: String, space: Space?, actor: String?, _ data: [String: String] = [:]) {
        events.append(
            PendingEvent(
                kind: kind, app: nil, spaceID: space?.id, space: space?.name, actor: actor, data: data))
    }

    /// A new routing revision; whoever asks for one holds the lock until the commit.
    func raiseRoutingRevision() throws -> Int64 {
        try session.one("update counters set routing_revision = routing_revision + 1 returning routing_revision")
            .get("routing_revision")
    }

    func routingRevision() throws -> Int64 {
        try session.one("select routing_revision from counters").get("routing_revision")
    }

    /// Locks the epoch against being raised until the commit.
    func requireEpoch(_ epoch: Int64) throws {
        let newest: Int64 = try session.one("select epoch from platform for share").get("epoch")
        guard newest == epoch else {
            throw PaaSError(.stale, "epoch \(epoch) is over, \(newest) is in charge: another paasd has started")
        }
    }

    static let eventChannel = "slipway_events"

    /// Writes the events and tells those who listen.
    func flush() throws {
        guard !events.isEmpty else { return }
        let last: Int64 = try session.one(
            "update counters set last_event_id = last_event_id + \(events.count) returning last_event_id"
        ).get("last_event_id")
        for (offset, event) in events.enumerated() {
            let id = last - Int64(events.count - 1 - offset)
            try session.run(
                """
                insert into events (id, time, kind, app, space_id, space, actor, data) values (\(id), \(now),
                    \(event.kind), \(event.app), \(event.spaceID), \(event.space), \(event.actor),
                    \(JSON(event.data.mapValues(withoutNUL))))
                """)
        }
        if last / 1000 != (last - Int64(events.count)) / 1000 {
            try session.run("delete from events where id <= \(last - PostgresStore.keptEvents)")
            try session.run(
                "delete from operations where finished_at < \(now.adding(seconds: -PostgresStore.keptOperationsSeconds))"
            )
        }
        try session.run("select pg_notify(\(Self.eventChannel), \(String(last)))")
    }
}
