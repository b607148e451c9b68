/// What `app.json` says about every release of a slug: it goes along with the slug, also into rollbacks.
public struct ReleaseManifest: Sendable, Codable, Hashable {
    /// `scripts.postdeploy`
    public var postdeploy: String?
    /// Process type to seconds for which a process has to run before it counts as started in a rollout
    /// (`healthchecks`, `uptime`).
    public var uptimeSeconds: [String: Int]

    public init(postdeploy: String? = nil, uptimeSeconds: [String: Int] = [:]) {
        self.postdeploy = postdeploy
        self.uptimeSeconds = uptimeSeconds
    }
}
