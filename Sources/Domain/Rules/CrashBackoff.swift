/// When a crashed process is started again: at once three times, then after 1 s, doubled up to 60 s; a process that was
/// up for 5 minutes starts afresh.
public enum CrashBackoff {
    public static let freeRestarts = 3
    public static let maximumSeconds: Double = 60
    public static let stableAfterSeconds: Double = 300

    /// - Parameter restarts: crashes in a row before this one's replacement, from 1.
    public static func delaySeconds(restarts: Int) -> Double {
        guard restarts > freeRestarts else { return 0 }
        let exponent = min(restarts - freeRestarts - 1, 10)
        return min(Double(1 << exponent), maximumSeconds)
    }
}
