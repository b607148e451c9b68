import Domain
import OS

/// The platform's one nftables table: masquerading, the borders between spaces, and what containers may reach of the host.
///
/// Its chains look at packets from and to our own bridges only and let all others pass. They run at priority -10, before
/// those of Docker, ufw and firewalld (0 and later): what is dropped here stays dropped, and what passes here can still be
/// dropped there. In particular a `policy drop` of another table's forward chain (Docker's) also holds for our containers.
///
/// Whether an address belongs to the bridge a packet came in on is asked of the routing table (`fib … . iif`), so that
/// bridges may come and go without a change of the table. Which ports the router has bound is seen by the engine from time
/// to time (`NetworkService.openRoutedPorts`). With br_netfilter the kernel shows bridged packets to these
/// chains as well, with the bridge as both interfaces: that is traffic within a space, which is allowed.
struct PacketFilter: Sendable, Hashable {
    let table: String
    private let rules: String
    private let tool: String

    /// - Parameters:
    ///   - forwards: containers may ask the name forwarder on their bridge.
    ///   - publicPorts: ports of the host that containers may reach, until `open` names others.
    init(
        settings: Settings, plan: SubnetPlan, resolvers: ResolverConfiguration, forwards: Bool,
        publicPorts: Set<UInt16> = []
    ) throws(PaaSError) {
        table = settings.hostName
        tool = try NetworkTool.path("nft", package: "nftables")
        rules = try Self.rules(
            settings: settings, plan: plan, resolvers: resolvers, forwards: forwards, publicPorts: publicPorts)
    }

    /// Replaces the table, whether it is there or not, in one transaction.
    /// - Returns: how it reads now.
    func apply() throws(PaaSError) -> String {
        let script = "table inet \(table) {}\ndelete table inet \(table)\n\(rules)"
        try NetworkTool.run(
            tool, ["-f", "-"], input: Array(script.utf8),
            message: "the packet filter could not be set up: is nf_tables in this kernel, with NAT and fib?")
        // Something else may have been at it in between: what it left must not count as ours.
        guard let text = try listing(), Self.ruleCount(text) == Self.ruleCount(rules) else {
            throw PaaSError(
                .internal,
                "the packet filter was changed by something else while it was set up: find out what with nft monitor")
        }
        return text
    }

    /// Rules in chains, of which both we and nft write one a line.
    static func ruleCount(_ text: String) -> Int {
        var count = 0
        var inChain = false
        for line in text.split(whereSeparator: \.isNewline) {
            let words = line.split(separator: " ").flatMap { $0.split(separator: "\t") }
            if words.first == "chain" {
                inChain = true
            } else if words.first == "}" {
                inChain = false
            } else if inChain, let first = words.first, first != "type" {
                count += 1
            }
        }
        return count
    }

    /// The table as the kernel has it, without what changes by itself; nil if it is not there. Something else may have
    /// removed it (`nft flush ruleset`), or only its rules (`nft flush table`).
    func listing() throws(PaaSError) -> String? {
        guard try Self.tables(tool).contains("table inet \(table)") else { return nil }
        let output = try NetworkTool.run(
            tool, ["--stateless", "--terse", "list", "table", "inet", table],
            message: "the packet filter could not be read")
        return String(decoding: output, as: UTF8.self)
    }

    /// Lets containers reach these ports of the host, and no others.
    static func open(_ ports: Set<UInt16>, settings: Settings) throws(PaaSError) {
        let tool = try NetworkTool.path("nft", package: "nftables")
        let set = "inet \(settings.hostName) \(publicSet)"
        var script = "flush set \(set)\n"
        if !ports.isEmpty { script += "add element \(set) { \(list(ports)) }\n" }
        try NetworkTool.run(
            tool, ["-f", "-"], input: Array(script.utf8),
            message: "the router's ports could not be opened to containers")
    }

    private static let publicSet = "public_ports"

    private static func list(_ ports: Set<UInt16>) -> String { ports.sorted().map(String.init).joined(separator: ", ") }

    /// Fine if there is none.
    static func remove(settings: Settings) throws(PaaSError) {
        let tool = try NetworkTool.path("nft", package: "nftables")
        let script = "table inet \(settings.hostName) {}\ndelete table inet \(settings.hostName)\n"
        try NetworkTool.run(
            tool, ["-f", "-"], input: Array(script.utf8), message: "the packet filter could not be removed")
    }

    /// Chains of others that drop whatever they don't know, and so our containers' traffic too; for a warning.
    func foreignDrops() throws(PaaSError) -> [String] {
        let output = try NetworkTool.run(
            tool, ["list", "chains"], message: "the host's packet filters could not be listed")
        var found: [String] = []
        var table = "", chain = ""
        for line in String(decoding: output, as: UTF8.self).split(separator: "\n") {
            let words = line.split(whereSeparator: { $0 == " " || $0 == "\t" })
            if words.count >= 3, words[0] == "table" {
                table = "\(words[1]) \(words[2])"
            } else if words.count >= 2, words[0] == "chain" {
                chain = String(words[1])
            } else if line.contains("hook forward"), line.contains("policy drop") {
                found.append("\(table) \(chain)")
            }
        }
        return found
    }

    private static func tables(_ tool: String) throws(PaaSError) -> [Substring] {
        let output = try NetworkTool.run(tool, ["list", "tables"], message: "the packet filter could not be read")
        return String(decoding: output, as: UTF8.self).split(separator: "\n")
    }

    /// Addresses at which clouds hand out credentials of the host, beyond the link-local ones.
    private static let metadata = [
        "169.254.0.0/16", "168.63.129.16", "100.100.100.200", "fe80::/10", "fd00:ec2::254", "fd20:ce::254",
        // The first one again, through the well-known prefix of NAT64.
        "64:ff9b::a9fe:0/112",
    ]

    /// Flows that one container may have open to the outside: an eighth of what the kernel can track, because packets of
    /// everybody are dropped once that is full.
    private static func flowsPerContainer() throws(PaaSError) -> Int {
        let text = try NetworkTool.system("the limit of tracked flows could not be read") { () throws(SystemError) in
            try Files.readText("/proc/sys/net/netfilter/nf_conntrack_max")
        }
        // Not there before the first rule that tracks: the kernel's own least default.
        return max(1024, (text.flatMap { Int($0) } ?? 65_536) / 8)
    }

    static func rules(
        settings: Settings, plan: SubnetPlan, resolvers: ResolverConfiguration, forwards: Bool,
        publicPorts: Set<UInt16>
    ) throws(PaaSError) -> String {
        var closed: [IPNetwork] = []
        for text in metadata + settings.egressDeny where !text.isEmpty {
            guard let network = IPNetwork(text) else {
                throw PaaSError(
                    .invalid, "PAAS_EGRESS_DENY: '\(text)' is no network; write CIDRs, as in 10.0.0.0/8,fd00::/8")
            }
            closed.append(network)
        }
        closed = IPNetwork.withoutNested(closed)
        let servers = resolvers.upstreams.compactMap { IPNetwork($0) }
        let bridges = "\"\(HostBridges.prefix(instance: settings.instance))*\""
        let ports = publicPorts.isEmpty ? "" : " elements = { \(list(publicPorts)) };"
        let flows = try flowsPerContainer()
        let private_ = privatePorts(settings)
        let dns =
            forwards
            ? "fib daddr . iif type local meta l4proto { tcp, udp } th dport 53 accept" : ""
        return """
            table inet \(settings.hostName) {
            \(set("closed4", "ipv4_addr", closed.filter(\.isIPv4)))
            \(set("closed6", "ipv6_addr", closed.filter { !$0.isIPv4 }))
            \(set("resolvers4", "ipv4_addr", servers.filter(\.isIPv4)))
            \(set("resolvers6", "ipv6_addr", servers.filter { !$0.isIPv4 }))
                set \(publicSet) { type inet_service;\(ports) }
                set flows {
                    type ether_addr
                    flags dynamic
                    size 65535
                }
                chain input {
                    type filter hook input priority filter - 10; policy accept;
                    iifname \(bridges) goto container_to_host
                }
                chain container_to_host {
                    ip daddr 127.0.0.0/8 drop
                    ip6 daddr ::1 drop
                    icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept
                    fib saddr . iif oif missing drop
                    ct state { established, related } accept
                    ct state new add @flows { ether saddr ct count over \(flows) } drop
                    icmp type echo-request accept
                    icmpv6 type echo-request accept
                    \(dns)
                    meta l4proto { tcp, udp, sctp } th dport { \(private_) } drop
                    fib daddr type local tcp dport @\(publicSet) accept
                    drop
                }
                chain forward {
                    type filter hook forward priority filter - 10; policy accept;
                    iifname \(bridges) oifname \(bridges) goto between_containers
                    iifname \(bridges) goto container_to_outside
                    oifname \(bridges) goto outside_to_container
                }
                chain between_containers {
                    icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept
                    fib saddr . iif oif missing drop
                    meta pkttype { broadcast, multicast } accept
                    fib daddr . iif oif missing drop
                    accept
                }
                chain container_to_outside {
                    fib saddr . iif oif missing drop
                    ct state { established, related } ct direction reply accept
                    ct state new add @flows { ether saddr ct count over \(flows) } drop
                    ip daddr @resolvers4 meta l4proto { tcp, udp } th dport 53 accept
                    ip6 daddr @resolvers6 meta l4proto { tcp, udp } th dport 53 accept
                    ip daddr @closed4 drop
                    ip6 daddr @closed6 drop
                    accept
                }
                chain outside_to_container {
                    ct state { established, related } accept
                    drop
                }
                chain postrouting {
                    type nat hook postrouting priority srcnat; policy accept;
                    oifname \(bridges) accept
                    ip saddr \(plan.v4) ip daddr != \(plan.v4) masquerade
                    ip6 saddr \(plan.v6) ip6 daddr != \(plan.v6) masquerade
                }
            }

            """
    }

    private static func set(_ name: String, _ type: String, _ networks: [IPNetwork]) -> String {
        let elements =
            networks.isEmpty
            ? "" : " elements = { \(networks.map(\.description).joined(separator: ", ")) };"
        return "    set \(name) { type \(type); flags interval;\(elements) }"
    }

    /// Ports of the platform itself, should the operator have put them into the public range.
    private static func privatePorts(_ settings: Settings) -> String {
        var ports: Set<UInt16> = [7022]
        for address in [settings.apiAddress, settings.routerMetricsAddress] {
            if let colon = address.lastIndex(of: ":"), let port = UInt16(address[address.index(after: colon)...]) {
                ports.insert(port)
            }
        }
        return list(ports)
    }
}
