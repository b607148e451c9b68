import Domain
import Glibc
import OS

/// A program of the host that did not do what it was asked.
struct NetworkToolError: Error, CustomStringConvertible {
    var tool: String
    var arguments: [String]
    var status: Int32
    var timedOut: Bool
    /// What it said, at most 2,000 bytes.
    var output: String

    var description: String {
        let end = timedOut ? "ran too long" : "ended with \(status)"
        return "\(tool) \(arguments.joined(separator: " ")) \(end): \(output)"
    }
}

/// Runs the host's own network programs: arguments as arrays, bounded in time and output.
enum NetworkTool {
    static func path(_ name: String, package: String) throws(PaaSError) -> String {
        for folder in ["/usr/sbin/", "/sbin/", "/usr/bin/", "/bin/"] where access(folder + name, X_OK) == 0 {
            return folder + name
        }
        throw PaaSError(
            .unavailable, "'\(name)' is not installed: apt-get install \(package)", source: .platform, retry: .safe)
    }

    /// What the program printed.
    /// - Throws: `.internal` with `message` and a `NetworkToolError` as its cause.
    @discardableResult
    static func run(
        _ tool: String, _ arguments: [String], input: [UInt8] = [], message: @autoclosure () -> String
    ) throws(PaaSError) -> [UInt8] {
        var spec = ProcessSpec(tool, arguments)
        // Nothing goes on behind the back of the next engine.
        spec.parentDeathSignal = SIGKILL
        let prepared = spec
        let result = try system(message()) { () throws(SystemError) in
            try Command(prepared, timeoutSeconds: 20, outputLimit: 64 << 20).run(input: input)
        }
        guard result.status == 0, !result.timedOut else {
            throw PaaSError(
                .internal, message(),
                cause: NetworkToolError(
                    tool: tool, arguments: arguments, status: result.status, timedOut: result.timedOut,
                    output: String(decoding: (result.errorOutput + result.output).prefix(2000), as: UTF8.self)))
        }
        return result.output
    }

    /// Turns a failed system call into the error type of the seam.
    static func system<T>(_ message: @autoclosure () -> String, _ body: () throws(SystemError) -> T)
        throws(PaaSError) -> T
    {
        do throws(SystemError) {
            return try body()
        } catch {
            throw error.asPaaSError(message())
        }
    }
}
