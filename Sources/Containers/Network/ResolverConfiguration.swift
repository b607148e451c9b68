import Domain
import OS

/// Which name servers containers ask.
struct ResolverConfiguration: Sendable, Hashable {
    /// The host's upstreams that a container can reach. Empty: the host has loopback ones only, and a forwarder on the
    /// bridges is needed.
    var upstreams: [String]

    var needsForwarder: Bool { upstreams.isEmpty }

    /// A container's `resolv.conf`.
    static func file(_ resolvers: [String]) -> [UInt8] { Array(resolvers.map { "nameserver \($0)\n" }.joined().utf8) }

    /// From the first of these files that names a server which is no loopback address. systemd-resolved keeps the real
    /// ones in the second.
    static let files = ["/etc/resolv.conf", "/run/systemd/resolve/resolv.conf"]

    static func read(files: [String] = Self.files) throws(PaaSError) -> ResolverConfiguration {
        for file in files {
            let text = try NetworkTool.system("\(file) could not be read") { () throws(SystemError) in
                try Files.readText(file, limit: 1 << 20)
            }
            let servers = Self.servers(text ?? "")
            if !servers.isEmpty { return ResolverConfiguration(upstreams: servers) }
        }
        return ResolverConfiguration(upstreams: [])
    }

    /// At most three, as resolvers read no more. Loopback, link-local and unspecified addresses mean something else inside
    /// a container and are left out.
    static func servers(_ text: String) -> [String] {
        var found: [String] = []
        for line in text.split(whereSeparator: { $0.isNewline }) {
            let words = line.split(whereSeparator: { $0 == " " || $0 == "\t" })
            guard words.count >= 2, words[0] == "nameserver", let address = IPNetwork(words[1]),
                address.prefix == address.bytes.count * 8
            else { continue }
            let own = ["127.0.0.0/8", "0.0.0.0/8", "::1/128", "::/128", "fe80::/10", "::ffff:127.0.0.0/104"]
            if own.contains(where: { IPNetwork($0)?.contains(address) ?? false }) { continue }
            let text = IPNetwork.text(address.bytes)
            if !found.contains(text) { found.append(text) }
        }
        return Array(found.prefix(3))
    }
}
