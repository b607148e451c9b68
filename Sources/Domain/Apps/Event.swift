/// Something that happened, kept in order for those who follow. Never holds a secret.
public struct Event: Sendable, Codable, Hashable {
    public var id: Int64
    public var time: Timestamp
    /// As in `release.current`, `process.crashed`, `build.failed`, `port.failed`.
    public var kind: String
    public var app: String?
    public var space: String?
    public var actor: String?
    public var data: [String: String]

    public init(
        id: Int64, time: Timestamp, kind: String, app: String?, space: String?, actor: String?, data: [String: String]
    ) {
        self.id = id
        self.time = time
        self.kind = kind
        self.app = app
        self.space = space
        self.actor = actor
        self.data = data
    }
}
