/// Cuts a stream of bytes into lines, bounded.
struct LineSplitter: Sendable {
    struct TooLong: Error, Sendable, CustomStringConvertible {
        var limit: Int
        var description: String { "a line of the table stream is longer than \(limit) bytes" }
    }

    private let limit: Int
    private var rest: [UInt8] = []

    init(limit: Int) { self.limit = limit }

    /// The lines that are complete now, without their ends. Empty ones are left out.
    mutating func feed(_ bytes: [UInt8]) throws(TooLong) -> [[UInt8]] {
        var lines: [[UInt8]] = []
        var start = 0
        while let end = bytes[start...].firstIndex(of: 10) {
            let line = rest + bytes[start..<end]
            if line.count > limit { throw TooLong(limit: limit) }
            if !line.isEmpty { lines.append(line) }
            rest = []
            start = end + 1
        }
        rest.append(contentsOf: bytes[start...])
        if rest.count > limit { throw TooLong(limit: limit) }
        return lines
    }
}
