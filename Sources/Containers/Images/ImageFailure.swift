import Domain
import Glibc
import OS

/// Turns a failed system call into the platform's own error, with words for the caller and the call as the cause.
enum ImageFailure {
    @discardableResult
    static func wrap<T: ~Copyable>(_ message: @autoclosure () -> String, _ body: () throws(SystemError) -> T)
        throws(PaaSError) -> T
    {
        do throws(SystemError) {
            return try body()
        } catch {
            if error.errno == ENOSPC || error.errno == EDQUOT {
                throw PaaSError(
                    .unavailable, "\(message()): the host's disk is full; free space under the data directory",
                    source: .platform, cause: error)
            }
            throw error.asPaaSError(message())
        }
    }

    /// Runs a program of the host's as part of a job; its last words become the cause when it fails.
    static func run(
        _ message: @autoclosure () -> String, _ path: String, _ arguments: [String], in group: HostWork.Group,
        timeoutSeconds: Int = 600
    )
        throws(PaaSError)
    {
        let result = try wrap(message()) { () throws(SystemError) in
            try Command(
                group.entered(ProcessSpec(path, arguments)), timeoutSeconds: timeoutSeconds, outputLimit: 64 << 10
            ).run()
        }
        if result.status != 0 { throw failure(message(), path, result.status, words: result.errorText) }
    }

    /// Of a program that ended badly.
    static func failure(_ message: String, _ path: String, _ status: Int32, words: String) -> PaaSError {
        let full = words.contains("No space left") || words.contains("Disk quota exceeded")
        return PaaSError(
            full ? .unavailable : .internal,
            full ? "\(message): the host's disk is full; free space under the data directory" : message,
            source: .platform,
            cause: ProgramFailure(path: path, status: status, words: String(words.suffix(2000).trimmingWhitespace())))
    }
}

/// A program that ended badly, with its last words. For the platform's log.
struct ProgramFailure: Error, CustomStringConvertible {
    var path: String
    var status: Int32
    var words: String
    var description: String { "\(path) ended with status \(status): \(words)" }
}
