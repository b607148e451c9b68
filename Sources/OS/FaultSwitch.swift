public import Domain
import Glibc

/// Kills this process at one named step, when a test asked for it with `PAAS_FAULT=NAME`, `NAME:MARK` or `NAME:MARK:stop`.
///
/// `MARK` is the path of a file that must not exist yet: it is made right before the end, so that the restarted process goes
/// on. Without one, the process dies each time it comes by. With `stop` it is stopped instead (SIGSTOP), so that a test can kill
/// another program in just this moment and then let this one go on, or kill both.
public struct FaultSwitch: FaultInjector {
    private let point: String?
    private let mark: String?
    private let signal: Int32

    public init(_ setting: String?) {
        let parts = (setting ?? "").split(separator: ":", maxSplits: 2).map(String.init)
        point = parts.first
        mark = parts.count > 1 ? parts[1] : nil
        signal = parts.count > 2 && parts[2] == "stop" ? SIGSTOP : SIGKILL
    }

    public func reached(_ point: FaultPoint) { reached(point.rawValue) }

    public func reached(_ name: String) {
        guard name == point else { return }
        if let mark {
            // O_EXCL: whoever makes the mark dies, everyone after it goes on.
            let fd = open(mark, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0o600)
            guard fd >= 0 else { return }
        }
        kill(getpid(), signal)
    }
}
