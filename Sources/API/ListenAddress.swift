import Domain

/// `HOST:PORT`, `[V6]:PORT`.
struct ListenAddress: Sendable, Hashable {
    var host: String
    var port: Int

    init(_ text: String) throws(PaaSError) {
        guard let colon = text.lastIndex(of: ":"), let port = UInt16(text[text.index(after: colon)...]), port > 0 else {
            throw PaaSError(.invalid, "PAAS_API_ADDRESS must be HOST:PORT, as in 127.0.0.1:7070")
        }
        var host = text[..<colon]
        if host.hasPrefix("["), host.hasSuffix("]") { host = host.dropFirst().dropLast() }
        guard !host.isEmpty, !host.contains("[") else {
            throw PaaSError(.invalid, "PAAS_API_ADDRESS must be HOST:PORT, as in 127.0.0.1:7070 or [::1]:7070")
        }
        self.host = String(host)
        self.port = Int(port)
    }

    var isLoopback: Bool {
        if host == "localhost" || host == "::1" { return true }
        let parts = host.split(separator: ".", omittingEmptySubsequences: false)
        return parts.count == 4 && parts[0] == "127" && parts.allSatisfy { UInt8($0) != nil }
    }
}
