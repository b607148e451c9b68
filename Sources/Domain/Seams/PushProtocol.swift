/// What the `proc-receive` hook and paasd say to each other on `Settings.pushSocket`: JSON objects, one a line, UTF-8,
/// each line at most `maximumLineBytes` long.
///
/// The hook sends one `PushHello`. paasd answers with `PushReply` lines: any number with `line` or `build`, then exactly one
/// with `results`, after which it closes. A connection that ends without `results` broke: the hook may connect again for
/// `resumeSeconds` and send the same hello with `resume` and `fromLine`; the build goes on in any case.
public enum PushProtocol {
    public static let maximumLineBytes = 4 << 20
    public static let maximumCommands = 5000
    public static let maximumOptions = 32
    public static let resumeSeconds = 30
}

/// One ref that the pusher wants to change.
public struct PushCommand: Sendable, Codable, Hashable {
    /// Full name, as in `refs/heads/main`.
    public var ref: String
    /// Present and wanted commit, 40 hex digits; 40 zeros for "not there".
    public var old: String
    public var new: String

    public static let zero = String(repeating: "0", count: 40)
    public var isCreate: Bool { old == Self.zero }
    public var isDelete: Bool { new == Self.zero }

    public init(ref: String, old: String, new: String) {
        self.ref = ref
        self.old = old
        self.new = new
    }
}

/// The hook's first and only message.
public struct PushHello: Sendable, Codable, Hashable {
    /// One-time ticket that fixes principal and app; never printed.
    public var ticket: String
    public var commands: [PushCommand]
    /// Push options as given with `-o`.
    public var options: [String]
    /// After a lost connection: the build that the first answer named.
    public var resume: BuildID?
    /// With `resume`: number of the first line of the build's log that is still wanted, from 0.
    public var fromLine: Int?

    public init(
        ticket: String, commands: [PushCommand], options: [String], resume: BuildID? = nil, fromLine: Int? = nil
    ) {
        self.ticket = ticket
        self.commands = commands
        self.options = options
        self.resume = resume
        self.fromLine = fromLine
    }
}

/// One line from paasd to the hook. Exactly one of `line`, `build`, `results` is there.
public struct PushReply: Sendable, Codable, Hashable {
    public struct OpenedBuild: Sendable, Codable, Hashable {
        public var id: BuildID
        public var number: Int
        public init(id: BuildID, number: Int) {
            self.id = id
            self.number = number
        }
    }

    /// To be printed to the pusher as it is, with a newline.
    public var line: String?
    /// With `line`: its number in the build's log, from 0; nil for lines about the push itself.
    public var number: Int?
    /// Once known: the build that this push opened.
    public var build: OpenedBuild?
    /// The last message: a decision for every ref of the hello.
    public var results: [String: RefDecision]?

    public init(
        line: String? = nil, number: Int? = nil, build: OpenedBuild? = nil, results: [String: RefDecision]? = nil
    ) {
        self.line = line
        self.number = number
        self.build = build
        self.results = results
    }
}

/// What becomes of one ref of a push. In JSON `{"kind":"moved"}`, `{"kind":"update"}`, `{"kind":"refuse","reason":"…"}`.
public enum RefDecision: Sendable, Hashable {
    /// paasd moved the ref itself (or will, once the rollout is done): report `ok`, with `option forced-update` left out.
    case moved
    /// The hook is to change the ref with `git update-ref REF NEW OLD` (or delete it) and to report how that went; or to
    /// report `option fall-through`.
    case update
    /// Report `ng REF REASON`.
    case refuse(String)
}

extension RefDecision: Codable {
    private enum CodingKeys: String, CodingKey { case kind, reason }
    private enum Kind: String, Codable { case moved, update, refuse }

    public init(from decoder: any Decoder) throws {
        let container = try decoder.container(keyedBy: CodingKeys.self)
        switch try container.decode(Kind.self, forKey: .kind) {
        case .moved: self = .moved
        case .update: self = .update
        case .refuse: self = .refuse(try container.decode(String.self, forKey: .reason))
        }
    }

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: CodingKeys.self)
        switch self {
        case .moved: try container.encode(Kind.moved, forKey: .kind)
        case .update: try container.encode(Kind.update, forKey: .kind)
        case .refuse(let reason):
            try container.encode(Kind.refuse, forKey: .kind)
            try container.encode(reason, forKey: .reason)
        }
    }
}
