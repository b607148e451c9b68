/// Whether an app runs with the config that it was given last. Config is the wanted state and stays as written even if its
/// release fails.
public struct ConfigStatus: Sendable, Codable, Hashable {
    /// Name of the app.
    public var app: String
    /// The newest config version: what is wanted.
    public var wantedVersion: Int
    /// Config version of the current release; nil: no release is current yet.
    public var runningVersion: Int?
    /// The newest release that was made with the wanted config, and how it went; nil: none yet, the next one takes it.
    public var release: Int?
    /// State of `release`.
    public var releaseState: Release.State?

    /// The current release has the wanted config.
    public var isRunning: Bool { runningVersion == wantedVersion }

    public init(
        app: String, wantedVersion: Int, runningVersion: Int?, release: Int?, releaseState: Release.State?
    ) {
        self.app = app
        self.wantedVersion = wantedVersion
        self.runningVersion = runningVersion
        self.release = release
        self.releaseState = releaseState
    }
}
