/// How large what callers choose may be: one rule each, for the API, the command line and the store.
public enum Limits {
    /// Memory of one process.
    public static let memoryBytes: ClosedRange<Int64> = (16 << 20)...(1 << 40)
    /// `memoryBytes` for messages.
    public static let memoryText = "from 16Mi to 1Ti"
    /// Thousandths of a core of one process.
    public static let cpuMillis = 10...256_000
    /// `cpuMillis` for messages.
    public static let cpuText = "from 0.01 to 256 cores"
    /// Drain time of a port.
    public static let drainSeconds = 0...3600
    /// Labels of one app.
    public static let labels = 64
    /// Length of a label's key.
    public static let labelKeyBytes = 63
    /// Length of a label's value.
    public static let labelValueBytes = 255
    /// Buildpacks of one app.
    public static let buildpacks = 20
    /// SSH keys of one token.
    public static let keysPerToken = 50
    /// Length of an `Idempotency-Key`.
    public static let idempotencyKeyBytes = 255
    /// How long an answer to a request with an `Idempotency-Key` is kept, in seconds.
    public static let idempotencySeconds: Double = 86_400
    /// Answers of one token that are kept; the oldest go first.
    public static let idempotentAnswersPerToken = 10_000
    /// Largest body of an answer that is kept.
    public static let idempotentAnswerBytes = 64 << 10
}
