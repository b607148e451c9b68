/// A statement. Interpolation binds: `"select 1 from apps where name = \(name)"` sends `$1` and the value apart from it.
/// An interpolated `SQL` becomes part of the text, with its values renumbered.
public struct SQL: Sendable, ExpressibleByStringInterpolation {
    public private(set) var text: String
    public private(set) var values: [PostgresValue]

    public init(stringLiteral value: String) {
        text = value
        values = []
    }

    public init(stringInterpolation: StringInterpolation) {
        text = stringInterpolation.text
        values = stringInterpolation.values
    }

    public struct StringInterpolation: StringInterpolationProtocol {
        var text = ""
        var values: [PostgresValue] = []

        public init(literalCapacity: Int, interpolationCount: Int) {
            text.reserveCapacity(literalCapacity + interpolationCount * 3)
            values.reserveCapacity(interpolationCount)
        }

        public mutating func appendLiteral(_ literal: String) { text += literal }

        public mutating func appendInterpolation(_ value: some PostgresBindable) {
            values.append(value.postgresValue)
            text += "$\(values.count)"
        }

        public mutating func appendInterpolation<T: PostgresBindable>(_ value: T?) {
            values.append(value?.postgresValue ?? .null)
            text += "$\(values.count)"
        }

        public mutating func appendInterpolation(_ part: SQL) {
            let offset = values.count
            guard offset > 0, !part.values.isEmpty else {
                text += part.text
                values += part.values
                return
            }
            // Highest number first, so that `$1` does not match inside `$10`.
            var renumbered = part.text
            for number in stride(from: part.values.count, through: 1, by: -1) {
                renumbered = renumbered.split(separator: "$\(number)", omittingEmptySubsequences: false)
                    .joined(separator: "$\u{1}\(number + offset)")
            }
            text += renumbered.split(separator: "\u{1}", omittingEmptySubsequences: false).joined()
            values += part.values
        }
    }
}
