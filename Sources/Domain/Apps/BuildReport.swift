/// What a build's driver leaves as `/result/build.json` for the builder. Written inside the container, so it is foreign input:
/// read with a limit, every field checked before use.
public struct BuildReport: Sendable, Hashable, Codable {
    /// Largest file that is read, in bytes.
    public static let maximumBytes = 1 << 20

    /// What a source that was fetched inside the container turned out to be.
    public struct Source: Sendable, Hashable, Codable {
        /// Commit that a URL and ref led to; nil for a tarball.
        public var commit: String?
        /// Git tree of the commit; nil for a tarball.
        public var tree: String?
        /// SHA-256 of a tarball, in hexadecimal; nil for git.
        public var sha256: String?
        public init(commit: String? = nil, tree: String? = nil, sha256: String? = nil) {
            self.commit = commit
            self.tree = tree
            self.sha256 = sha256
        }
    }

    /// Something that a buildpack fetched, for the provenance.
    public struct Artifact: Sendable, Hashable, Codable {
        /// Without user name and password.
        public var url: String
        /// In hexadecimal.
        public var sha256: String
        public init(url: String, sha256: String) {
            self.url = url
            self.sha256 = sha256
        }
    }

    /// Those that took part, in their order.
    public var buildpacks: [Build.UsedBuildpack]
    /// Of the last buildpack: what `Default types for …` and failures name.
    public var displayName: String?
    /// Nil when paasd checked the source out itself.
    public var source: Source?
    public var artifacts: [Artifact]
    /// The buildpack was found by detection and not named by the app: it is pinned to the app after the first success.
    public var detected: Bool

    public init(
        buildpacks: [Build.UsedBuildpack] = [], displayName: String? = nil, source: Source? = nil,
        artifacts: [Artifact] = [], detected: Bool = false
    ) {
        self.buildpacks = buildpacks
        self.displayName = displayName
        self.source = source
        self.artifacts = artifacts
        self.detected = detected
    }
}
