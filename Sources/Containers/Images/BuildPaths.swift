/// Where the parts of one build's volume are mounted on the host.
public struct BuildPaths: Sendable, Hashable {
    /// The checked-out tree, mounted at `/app`.
    public var app: String
    /// Mounted at `/cache`.
    public var cache: String
    /// Mounted at `/layers`: the layers of Cloud Native Buildpacks.
    public var layers: String
    /// Mounted at `/tmp`.
    public var tmp: String
    /// Mounted at `/result`: what the build's driver leaves for the builder.
    public var result: String

    init(volume: String) {
        app = volume + "/app"
        cache = volume + "/cache"
        layers = volume + "/layers"
        tmp = volume + "/tmp"
        result = volume + "/result"
    }
}
