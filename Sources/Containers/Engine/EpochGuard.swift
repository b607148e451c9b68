import Domain
import OS

/// The newest epoch that was seen; older ones are refused. Kept in the run directory across restarts of the engine.
final class EpochGuard: Sendable {
    private let path: String
    private let newest: Monitor<Int64>

    init(path: String) throws(PaaSError) {
        self.path = path
        do throws(SystemError) {
            newest = Monitor(try Files.readText(path, limit: 64).flatMap { Int64($0) } ?? 0)
        } catch {
            throw error.asPaaSError("the newest epoch can't be read")
        }
    }

    func check(_ epoch: Int64) throws(PaaSError) {
        let path = path
        try newest.withLock { (newest) throws(PaaSError) in
            guard epoch >= newest else {
                throw PaaSError(.stale, "epoch \(epoch) is over: epoch \(newest) is in charge")
            }
            guard epoch > newest else { return }
            do throws(SystemError) {
                try Files.writeDurably(path, "\(epoch)\n".utf8)
            } catch {
                throw error.asPaaSError("the newest epoch can't be written")
            }
            newest = epoch
        }
    }
}
