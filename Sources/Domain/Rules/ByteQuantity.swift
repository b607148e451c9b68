/// Amounts of memory as users write them: `256Mi`, `1Gi`, `512M`, or plain bytes.
public enum ByteQuantity {
    private static let units: [(suffix: String, factor: Int64)] = [
        ("Gi", 1 << 30), ("Mi", 1 << 20), ("Ki", 1 << 10), ("G", 1_000_000_000), ("M", 1_000_000), ("k", 1000),
    ]

    /// The shortest exact form in binary units.
    public static func text(_ bytes: Int64) -> String {
        for unit in units.prefix(3) where bytes != 0 && bytes % unit.factor == 0 {
            return "\(bytes / unit.factor)\(unit.suffix)"
        }
        return "\(bytes)"
    }

    /// Nil for anything that is no whole, positive amount.
    public static func parse(_ text: String) -> Int64? {
        for unit in units where text.hasSuffix(unit.suffix) {
            guard let count = digits(text.dropLast(unit.suffix.count)) else { return nil }
            let (bytes, overflow) = count.multipliedReportingOverflow(by: unit.factor)
            return overflow ? nil : bytes
        }
        return digits(text[...])
    }

    private static func digits(_ text: Substring) -> Int64? {
        guard !text.isEmpty, text.utf8.allSatisfy({ $0 >= 48 && $0 <= 57 }) else { return nil }
        return Int64(text)
    }
}
