import Domain
import Glibc

/// A system call that failed: which, on what, and why.
public struct SystemError: Error, Sendable, Hashable, CustomStringConvertible {
    public var operation: String
    public var errno: Int32

    public init(_ operation: String, errno: Int32) {
        self.operation = operation
        self.errno = errno
    }

    /// From the thread's `errno`. Call it right after the failed call.
    public static func last(_ operation: String) -> SystemError { SystemError(operation, errno: Glibc.errno) }

    public var description: String { "\(operation): \(String(cString: strerror(errno)))" }

    /// As the platform's own fault, for callers outside.
    public func asPaaSError(_ message: String) -> PaaSError { PaaSError(.internal, message, cause: self) }
}

public enum Syscall {
    /// Runs a call that returns -1 and sets `errno`; repeats it while it is interrupted. EBADF and EFAULT are bugs of ours
    /// that would do damage later, so they end the program.
    @discardableResult
    public static func check<T: FixedWidthInteger & SignedInteger>(
        _ operation: @autoclosure () -> String, _ call: () -> T
    ) throws(SystemError) -> T {
        while true {
            let result = call()
            if result != -1 { return result }
            let code = errno
            if code == EINTR { continue }
            precondition(code != EBADF && code != EFAULT, "\(operation()): errno \(code) means a bug here")
            throw SystemError(operation(), errno: code)
        }
    }

    /// The same for CShim's functions, which return a negative errno.
    @discardableResult
    public static func shim<T: FixedWidthInteger & SignedInteger>(_ operation: @autoclosure () -> String, _ result: T)
        throws(SystemError) -> T
    {
        if result < 0 { throw SystemError(operation(), errno: Int32(truncatingIfNeeded: -result)) }
        return result
    }
}
