import Synchronization

/// How many descriptors flows and listeners may hold. Past it connections stay in the kernel's queues, and what is served
/// goes on.
///
/// No binding can take it all: one that holds more than a multiple of what is free gets no more. The first takes at most
/// four fifths, the next four fifths of the rest, and so on, so that whoever comes later always finds something.
final class DescriptorBudget: Sendable {
    private static let timesFree = 4
    private static let reportInterval: UInt64 = 60_000

    let limit: Int
    private let taken = Atomic<Int>(0)
    private let pauseCount = Atomic<Int>(0)
    private let nextReport = Atomic<UInt64>(0)

    /// - Parameters:
    ///   - limit: the process's limit of open files.
    ///   - reserve: kept for everything that is no flow and no listener.
    init(limit: Int, reserve: Int) { self.limit = max(8, limit - reserve) }

    var used: Int { taken.load(ordering: .relaxed) }

    /// How often a listener had to stop taking connections for a moment.
    var pauses: Int { pauseCount.load(ordering: .relaxed) }

    func take(_ count: Int) -> Bool {
        if taken.wrappingAdd(count, ordering: .relaxed).newValue <= limit { return true }
        give(count)
        return false
    }

    func give(_ count: Int) { taken.wrappingSubtract(count, ordering: .relaxed) }

    /// For a flow of this binding.
    func take(_ count: Int, for route: RouteShared) -> Bool {
        guard take(count) else { return false }
        let held = route.descriptors.wrappingAdd(count, ordering: .relaxed).newValue
        if held == count || held <= Self.timesFree * (limit - used) { return true }
        give(count, for: route)
        return false
    }

    func give(_ count: Int, for route: RouteShared) {
        route.descriptors.wrappingSubtract(count, ordering: .relaxed)
        give(count)
    }

    /// Counts a pause. True at most once a minute: the log gets a line now and then, not one for each connection.
    func paused(now: UInt64) -> Bool {
        pauseCount.wrappingAdd(1, ordering: .relaxed)
        let due = nextReport.load(ordering: .relaxed)
        guard now >= due else { return false }
        return nextReport.compareExchange(
            expected: due, desired: now + Self.reportInterval, ordering: .relaxed
        ).exchanged
    }
}
