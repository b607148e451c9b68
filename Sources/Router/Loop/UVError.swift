import CLibUV

/// A libuv call that failed: which, and why.
struct UVError: Error, Sendable, Hashable, CustomStringConvertible {
    var operation: String
    /// libuv's code, which on Linux is a negative errno.
    var code: Int32

    init(_ operation: String, code: Int32) {
        self.operation = operation
        self.code = code
    }

    var description: String { "\(operation): \(Self.text(code))" }

    /// The reason in words, in lower case, as in `connection refused`.
    static func text(_ code: Int32) -> String { String(cString: uv_strerror(code)) }

    @discardableResult
    static func check(_ operation: @autoclosure () -> String, _ result: Int32) throws(UVError) -> Int32 {
        if result < 0 { throw UVError(operation(), code: result) }
        return result
    }
}
