import Domain
import Glibc
import OS
import Synchronization

/// What the users of the daemon may take of it, one by one and all together.
struct GitLimits: Sendable {
    /// Programs of git that run at a time. Each costs up to ten tasks; `git-limits.sh` allows for that many.
    var exchanges = 128
    var exchangesPerApp = 16
    /// How long git's client may send nothing, or take nothing, before it has sent all of its request.
    var idleSeconds = 120
    /// The same over SSH, where git packs while it is connected.
    var packIdleSeconds = 900
    /// How long it may take nothing of the reply after that.
    var replyIdleSeconds = 1800
    /// Most that a push may send: its commands and its pack.
    var pushBytes: Int64 = 1 << 30
    /// What pushes leave free on the disk, which is the database's as well.
    var freeBytes: Int64 = 1 << 30

    var tooLarge: PaaSError {
        let text =
            pushBytes >= 1 << 30
            ? "\(pushBytes >> 30) GiB" : pushBytes >= 1 << 20 ? "\(pushBytes >> 20) MiB" : "\(pushBytes >> 10) KiB"
        return PaaSError(
            .tooLarge,
            "this push sends more than \(text), the most that is taken at once; leave large files out of git, push parts of the history one after the other, or ask the operator for a larger PAAS_PUSH_LIMIT_BYTES"
        )
    }

    /// When repositories are packed together.
    var upkeep = Upkeep.Plan()

    /// - Throws: `unavailable` if a push must not write to the disk that holds `folder`.
    func requireSpace(_ folder: String) throws(PaaSError) {
        var space = statvfs()
        guard statvfs(folder, &space) == 0 else {
            throw SystemError.last("statvfs").asPaaSError("the platform can't look at its disk")
        }
        let free = Int64(clamping: UInt64(space.f_bavail) * UInt64(space.f_frsize))
        guard free >= freeBytes else {
            throw PaaSError(
                .unavailable,
                "the platform's disk is almost full: \(free >> 20) MiB are free, and pushes leave \(freeBytes >> 20) MiB; its operator has to make room, then push again",
                source: .platform)
        }
    }
}

/// Counts who is served, so that nobody's requests keep others from theirs.
final class Seats: Sendable {
    private let limits: GitLimits
    let taken = Mutex<[AppID: Int]>([:])

    init(_ limits: GitLimits) { self.limits = limits }

    /// - Throws: `conflict` if the app has all that one app may have, `unavailable` if all are taken.
    func take(_ app: AppID) throws(PaaSError) {
        let refusal: PaaSError? = taken.withLock { taken in
            let present = taken[app] ?? 0
            if present >= limits.exchangesPerApp {
                return PaaSError(
                    .conflict,
                    "too many pushes and fetches of this app are under way (\(present)); wait for one to end, then try again"
                )
            }
            if taken.values.reduce(0, +) >= limits.exchanges {
                return PaaSError(
                    .unavailable, "too many pushes and fetches are under way on this platform; try again in a minute",
                    source: .platform)
            }
            taken[app] = present + 1
            return nil
        }
        if let refusal { throw refusal }
    }

    func leave(_ app: AppID) {
        taken.withLock { taken in
            let left = (taken[app] ?? 0) - 1
            taken[app] = left > 0 ? left : nil
        }
    }
}
