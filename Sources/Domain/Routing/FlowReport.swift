/// What became of a binding's connections since the router's last report about it (`POST /v1/routers/{id}/flows`, an array).
/// Sent only if something went wrong with one.
public struct FlowReport: Sendable, Codable, Hashable {
    public var binding: BindingID
    /// The binding's name.
    public var port: String
    /// How many flows ended, by reason: `completed`, `connect_failed`, `idle`, …
    public var endings: [String: Int]
    /// Connects to processes that failed; another process may have taken the flow.
    public var connectFailures: Int
    /// The newest of them, as in `web.1: connection refused`.
    public var lastConnectError: String?

    public init(
        binding: BindingID, port: String, endings: [String: Int], connectFailures: Int, lastConnectError: String?
    ) {
        self.binding = binding
        self.port = port
        self.endings = endings
        self.connectFailures = connectFailures
        self.lastConnectError = lastConnectError
    }

    /// As a line of the app's log: `port web: 12 flows ended: 5 connect failed, 7 completed; 6 connects failed, the last: …`
    public var summary: String {
        func clean(_ text: String) -> String {
            String(
                String.UnicodeScalarView(text.unicodeScalars.prefix(200).filter { $0.value >= 32 && $0.value != 127 }))
        }
        let counts = endings.sorted { ($0.value, $1.key) > ($1.value, $0.key) }.prefix(20)
        let reasons = counts.map { reason, count in
            "\(count) \(clean(String(reason.map { $0 == "_" ? " " : $0 })))"
        }
        var text = "port \(clean(port)): \(endings.values.reduce(0, &+)) flows ended"
        if !reasons.isEmpty { text += ": " + reasons.joined(separator: ", ") }
        if connectFailures > 0 { text += "; \(connectFailures) connects failed" }
        if let lastConnectError { text += ", the last: \(clean(lastConnectError))" }
        return text
    }
}
