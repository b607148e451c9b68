import Domain
import Glibc

/// Kills this process at one named step of the durable order, once, when a test asked for it with
/// `PAAS_FAULT=NAME:MARK`. `MARK` is the path of a file that must not exist yet; it is made right before the end, so that the
/// restarted process goes on.
struct FaultSwitch: FaultInjector {
    private let point: FaultPoint?
    private let mark: String?

    init(_ setting: String?) {
        let parts = (setting ?? "").split(separator: ":", maxSplits: 1).map(String.init)
        point = parts.first.flatMap(FaultPoint.init(rawValue:))
        mark = parts.count > 1 ? parts[1] : nil
    }

    func reached(_ reached: FaultPoint) {
        guard reached == point, let mark else { return }
        // O_EXCL: whoever makes the mark dies, everyone after it goes on.
        let fd = open(mark, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0o600)
        guard fd >= 0 else { return }
        kill(getpid(), SIGKILL)
    }
}
