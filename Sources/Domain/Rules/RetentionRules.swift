/// How long what apps leave behind is kept. Whatever is set: what a process runs, what is current, what is on its way and what
/// a rollback without a number goes back to are always kept.
public struct RetentionRules: Sendable, Hashable {
    /// `PAAS_RETAIN_RELEASES`: newest releases of each app, and newest builds, whose slugs are kept.
    public var releases: Int
    /// `PAAS_RETAIN_BUILD_LOGS`: newest builds of each app whose logs are kept.
    public var buildLogs: Int
    /// `PAAS_RETAIN_LOG_DAYS`: logs of builds that ended longer ago go, however few they are.
    public var logDays: Int
    /// `PAAS_RETAIN_CACHE_DAYS`: caches of apps without a build for so long go; 0: after every build.
    public var cacheDays: Int
    /// `PAAS_RETAIN_GRACE_SECONDS`: younger slugs are never removed, nor the commits they were built from.
    public var graceSeconds: Int
    /// `PAAS_RETAIN_INTERVAL_SECONDS`: between two looks; builds bring the next one forward.
    public var intervalSeconds: Int

    public init(
        releases: Int = 50, buildLogs: Int = 200, logDays: Int = 90, cacheDays: Int = 30, graceSeconds: Int = 86_400,
        intervalSeconds: Int = 3600
    ) {
        self.releases = releases
        self.buildLogs = buildLogs
        self.logDays = logDays
        self.cacheDays = cacheDays
        self.graceSeconds = graceSeconds
        self.intervalSeconds = intervalSeconds
    }

    /// What a release says whose slug was removed.
    public static func slugIsGone(_ version: Int, commit: String?) -> PaaSError {
        let again = commit.map { "build it again: paasctl builds create --commit \($0.prefix(12))" } ?? "build it again"
        return PaaSError(
            .conflict, "the slug of v\(version) is no longer kept (PAAS_RETAIN_RELEASES); \(again)", source: .client)
    }
}
