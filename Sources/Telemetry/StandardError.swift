import FoundationEssentials
import Glibc

enum StandardError {
    /// One call of `write`; a log that can't be written has nowhere to be reported.
    static func write(_ bytes: Data) {
        _ = bytes.withUnsafeBytes { Glibc.write(2, $0.baseAddress, $0.count) }
    }
}
