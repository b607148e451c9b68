/// How large what callers choose may be: one rule each, for the API, the command line and the store.
public enum Limits {
    /// Memory of one process.
    public static let memoryBytes: ClosedRange<Int64> = (16 << 20)...(1 << 40)
    public static let memoryText = "from 16Mi to 1Ti"
    /// Thousandths of a core of one process.
    public static let cpuMillis = 10...256_000
    public static let cpuText = "from 0.01 to 256 cores"
    public static let drainSeconds = 0...3600
    public static let labels = 64
    public static let labelKeyBytes = 63
    public static let labelValueBytes = 255
    public static let buildpacks = 20
}
