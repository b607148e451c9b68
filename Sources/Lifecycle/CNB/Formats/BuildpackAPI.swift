/// Version of the Buildpack API that a buildpack is written for: `MAJOR.MINOR` or `MAJOR`, which is `MAJOR.0`.
public struct BuildpackAPI: Sendable, Hashable, Comparable, CustomStringConvertible {
    public var major: UInt64
    public var minor: UInt64

    /// Below 1.0 every minor version may change anything, so each one that is kept to is named.
    public static let supported = [BuildpackAPI(0, 10), BuildpackAPI(0, 11), BuildpackAPI(0, 12)]

    public init(_ major: UInt64, _ minor: UInt64) {
        self.major = major
        self.minor = minor
    }

    /// Nil for a text of another form.
    public init?(_ text: String) {
        let parts = text.split(separator: ".", omittingEmptySubsequences: false)
        guard (1...2).contains(parts.count),
            parts.allSatisfy({ !$0.isEmpty && $0.utf8.allSatisfy { $0 >= 48 && $0 <= 57 } }),
            let major = UInt64(parts[0]), let minor = parts.count == 2 ? UInt64(parts[1]) : 0
        else { return nil }
        self.init(major, minor)
    }

    public var description: String { "\(major).\(minor)" }
    public var isSupported: Bool { Self.supported.contains(self) }

    public static func < (a: Self, b: Self) -> Bool { (a.major, a.minor) < (b.major, b.minor) }
}
