import Domain
import Glibc
import OS

/// Why a build with Cloud Native Buildpacks ends: in words for the build's output, with the exit code of the driver.
public struct CNBFailure: Error, Sendable, Hashable, CustomStringConvertible {
    /// What the driver exits with.
    public var exit: BuildExit
    /// One sentence that says what to do.
    public var message: String
    /// Further lines, for example the verdict of each buildpack.
    public var details: [String]

    public init(_ exit: BuildExit, _ message: String, details: [String] = []) {
        self.exit = exit
        self.message = message
        self.details = details
    }

    /// A system call failed: a full disk has an exit code of its own, all else is the platform's own fault.
    init(_ error: SystemError) {
        let full = error.errno == ENOSPC || error.errno == EDQUOT
        self.init(
            full ? .diskFull : .environmentIncomplete,
            full ? "The build's disk is full (\(error))." : "The build can't go on: \(error).")
    }

    public var description: String { ([message] + details).joined(separator: "\n") }
}

/// Runs system calls, whose failures become a `CNBFailure`.
func onDisk<T>(_ body: () throws(SystemError) -> T) throws(CNBFailure) -> T {
    do throws(SystemError) {
        return try body()
    } catch {
        throw CNBFailure(error)
    }
}
