import HTTPTypes
import Synchronization

/// Replies since the start of this paasd, by status.
final class RequestCounter: Sendable {
    private let counts = Mutex<[Int: Int]>([:])

    func count(_ status: HTTPResponse.Status) { counts.withLock { $0[status.code, default: 0] += 1 } }

    var byStatus: [Int: Int] { counts.withLock { $0 } }
}
