import Domain
import OS

/// Why the driver ends a build: the exit code, and the lines that the pusher reads, without the mark of a warning.
struct BuildStop: Error, Sendable, Hashable {
    var exit: BuildExit
    var lines: [String]

    init(_ exit: BuildExit, _ lines: String...) {
        self.exit = exit
        self.lines = lines
    }

    init(_ exit: BuildExit, lines: [String]) {
        self.exit = exit
        self.lines = lines
    }

    init(_ failure: CNBFailure) { self.init(failure.exit, lines: [failure.message] + failure.details) }

    /// A system call on the build's own folders failed: the volume is full, or the platform did not give what it promises.
    init(_ error: SystemError) {
        if error.isNoSpace {
            self.init(.diskFull, "The build volume is full (\(error.operation)).")
        } else {
            self.init(.environmentIncomplete, "\(error)")
        }
    }
}

extension SystemError {
    /// A disk or a quota is used up.
    var isNoSpace: Bool { errno == 28 /* ENOSPC */ || errno == 122 /* EDQUOT */ }
}

/// Runs `body`; what the system refuses ends the build.
func stopping<T>(_ body: () throws(SystemError) -> T) throws(BuildStop) -> T {
    do throws(SystemError) { return try body() } catch { throw BuildStop(error) }
}
