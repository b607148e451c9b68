import Domain
import Synchronization

/// How many pushes and fetches of one app one token may make in an hour: a machine that asks without end must not keep the
/// platform from everybody. Counts refill evenly.
public final class GitRequestBudget: Sendable {
    private struct Key: Hashable {
        var token: TokenID
        var app: AppID
    }
    private struct Count {
        var left: Double
        var at: Timestamp
    }

    private static let hour: Double = 3600
    /// Above this many, those that are full again are forgotten.
    private static let tidyAbove = 10_000

    private let perHour: Double
    private let counts = Mutex<[Key: Count]>([:])

    public init(perHour: Int) { self.perHour = Double(perHour) }

    /// - Throws: `tooManyRequests` when the hour's requests are used up.
    func take(_ token: TokenID, _ app: AppID, now: Timestamp) throws(PaaSError) {
        let key = Key(token: token, app: app)
        let wait: Double? = counts.withLock { counts in
            if counts.count > Self.tidyAbove { counts = counts.filter { left($0.value, now) < perHour } }
            let present = counts[key].map { left($0, now) } ?? perHour
            guard present >= 1 else { return (1 - present) * Self.hour / perHour }
            counts[key] = Count(left: present - 1, at: now)
            return nil
        }
        guard let wait else { return }
        throw PaaSError(
            .tooManyRequests,
            "this token has used up its \(Int(perHour)) git requests of this app in an hour; try again in \(Int(wait.rounded(.up))) s"
        )
    }

    private func left(_ count: Count, _ now: Timestamp) -> Double {
        let seconds = max(0, Double(now.microseconds - count.at.microseconds) / 1_000_000)
        return min(perHour, count.left + seconds * perHour / Self.hour)
    }
}
