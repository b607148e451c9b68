import Synchronization

/// How many descriptors flows may hold. Past it connections stay in the kernel's queues, and what is served goes on.
final class DescriptorBudget: Sendable {
    private let limit: Int
    private let used = Atomic<Int>(0)
    private let reported = Atomic<Bool>(false)

    /// - Parameters:
    ///   - limit: the process's limit of open files.
    ///   - reserve: kept for everything that is no flow and no listener.
    init(limit: Int, reserve: Int) { self.limit = max(8, limit - reserve) }

    func take(_ count: Int) -> Bool {
        if used.wrappingAdd(count, ordering: .relaxed).newValue <= limit { return true }
        give(count)
        return false
    }

    func give(_ count: Int) { used.wrappingSubtract(count, ordering: .relaxed) }

    var isUnused: Bool { used.load(ordering: .relaxed) == 0 }

    /// True the first time only: the log gets one line, not one for each connection.
    func shouldReport() -> Bool { !reported.exchange(true, ordering: .relaxed) }
}
