import Domain
import OS

/// What the engine knows of its containers, and who follows it. One lock over both: a follower's list and the changes
/// after it fit together.
final class ContainerTable: Sendable {
    struct Entry: Sendable {
        var record: ContainerRecord
        var sockets: [ObservedSocket] = []
        /// Of the platform's own stop or time limit: when SIGKILL is due, on the monotonic clock.
        var killAt: Double?
    }

    struct State {
        var entries: [InstanceID: Entry] = [:]
        var followers: [ObjectIdentifier: EventQueue] = [:]
    }

    private let state = Monitor(State())
    let node: String

    init(node: String) { self.node = node }

    subscript(id: InstanceID) -> Entry? { state.withLock { $0.entries[id] } }
    var all: [Entry] { state.withLock { Array($0.entries.values) } }

    func observation(_ id: InstanceID) -> ContainerObservation? { self[id].map { observe($0) } }

    func insert(_ record: ContainerRecord) {
        state.withLock { state in
            let entry = Entry(record: record)
            state.entries[record.id] = entry
            Self.publish(.changed(observe(entry)), &state)
        }
    }

    func remove(_ id: InstanceID) {
        state.withLock { state in
            if state.entries.removeValue(forKey: id) != nil { Self.publish(.removed(id), &state) }
        }
    }

    /// Changes one entry; followers hear of it if what they see changed. `persist` runs before anybody can see the
    /// change. Nil if there is no such container.
    @discardableResult
    func update<E: Error>(
        _ id: InstanceID, persist: (ContainerRecord) throws(E) -> Void, _ body: (inout Entry) -> Void
    ) throws(E) -> Entry? {
        try state.withLock { (state) throws(E) -> Entry? in
            guard let before = state.entries[id] else { return nil }
            var after = before
            body(&after)
            if after.record != before.record { try persist(after.record) }
            state.entries[id] = after
            let seen = observe(after)
            if seen != observe(before) { Self.publish(.changed(seen), &state) }
            return after
        }
    }

    /// Blocks until the container is not running any more, at most `seconds`. False if it still is.
    func waitForEnd(_ id: InstanceID, seconds: Double) -> Bool {
        state.wait(seconds: seconds) { state in
            state.entries[id].map { $0.record.phase == .exited } ?? true ? true : nil
        } ?? false
    }

    /// A queue that begins with the full list.
    func follow() -> EventQueue {
        let queue = EventQueue()
        state.withLock { state in
            queue.push(.list(state.entries.values.map { observe($0) }.sorted { $0.id < $1.id }))
            state.followers[ObjectIdentifier(queue)] = queue
        }
        return queue
    }

    func unfollow(_ queue: EventQueue) {
        queue.close()
        state.withLock { _ = $0.followers.removeValue(forKey: ObjectIdentifier(queue)) }
    }

    private func observe(_ entry: Entry) -> ContainerObservation {
        entry.record.observation(node: node, sockets: entry.sockets)
    }

    private static func publish(_ event: EngineEvent, _ state: inout State) {
        for queue in state.followers.values { queue.push(event) }
    }
}

/// Events on their way to one follower: bounded; one that falls behind is closed and has to begin anew.
final class EventQueue: Sendable {
    static let capacity = 4096

    private struct State {
        var events: [EngineEvent] = []
        var closed = false
    }

    private let state = Monitor(State())

    func push(_ event: EngineEvent) {
        state.withLock { state in
            if state.closed { return }
            if state.events.count >= Self.capacity {
                state.events = []
                state.closed = true
            } else {
                state.events.append(event)
            }
        }
    }

    /// The events so far, oldest first; blocks while there are none. Empty after `seconds` without any, nil once closed.
    func take(seconds: Double) -> [EngineEvent]? {
        let taken: [EngineEvent]?? = state.wait(seconds: seconds) { state in
            if !state.events.isEmpty {
                defer { state.events = [] }
                return .some(state.events)
            }
            return state.closed ? .some(nil) : nil
        }
        return taken ?? []
    }

    func close() { state.withLock { $0.closed = true } }
}
