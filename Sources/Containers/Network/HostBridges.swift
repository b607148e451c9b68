import Domain
import OS

/// The bridges of this platform, one a space, in the host's own namespace.
struct HostBridges: Sendable {
    /// Every name of ours begins with it, and no other platform's does: instances hold no `-`.
    let prefix: String
    private let tool: String

    init(instance: String) throws(PaaSError) {
        prefix = Self.prefix(instance: instance)
        tool = try NetworkTool.path("ip", package: "iproute2")
    }

    static func prefix(instance: String) -> String { "p\(instance)-" }

    /// At most 14 bytes: `p`, 8 of the instance, `-`, 4 of the index.
    func name(_ index: Int) -> String { prefix + String(index, radix: 16) }

    func index(of name: String) -> Int? {
        guard name.hasPrefix(prefix), let index = Int(name.dropFirst(prefix.count), radix: 16), self.name(index) == name
        else { return nil }
        return index
    }

    /// Space numbers of the bridges that are there.
    func existing() throws(PaaSError) -> [Int] {
        try NetworkTool.system("the host's interfaces could not be listed") { () throws(SystemError) in
            try Files.list("/sys/class/net").compactMap(index(of:))
        }
    }

    /// Makes the bridge, or completes one that was left half made.
    func ensure(_ space: SubnetPlan.Space) throws(PaaSError) {
        let name = name(space.index)
        let message = "the network of a space could not be made"
        if !Files.exists("/sys/class/net/\(name)") {
            // A hardware address of its own: a bridge without takes its ports', and changes when they come and go.
            try NetworkTool.run(
                tool, ["link", "add", "name", name, "address", Self.hardwareAddress(name), "type", "bridge"],
                message: message)
        }
        guard Files.exists("/sys/class/net/\(name)/bridge") else {
            throw PaaSError(
                .conflict, "the host has an interface '\(name)' that is no bridge: remove it, or set PAAS_INSTANCE",
                source: .platform)
        }
        try NetworkTool.system(message) { () throws(SystemError) in
            let values = [
                ("ipv4", "route_localnet", "0"), ("ipv4", "forwarding", "1"), ("ipv4", "send_redirects", "0"),
                ("ipv4", "accept_redirects", "0"), ("ipv6", "disable_ipv6", "0"), ("ipv6", "forwarding", "1"),
                ("ipv6", "accept_ra", "0"), ("ipv6", "accept_dad", "0"), ("ipv6", "accept_redirects", "0"),
            ]
            for (family, key, value) in values {
                try Files.writeExisting("/proc/sys/net/\(family)/conf/\(name)/\(key)", value)
            }
        }
        // All of it in one process; `replace` does not mind what is there already.
        let batch = """
            addr replace \(space.gateway4)/\(space.v4.prefix) dev \(name)
            addr replace \(space.gateway6)/\(space.v6.prefix) dev \(name) nodad
            link set dev \(name) up

            """
        try NetworkTool.run(tool, ["-batch", "-"], input: Array(batch.utf8), message: message)
    }

    /// Fine if it is not there.
    func remove(_ index: Int) throws(PaaSError) {
        let name = name(index)
        guard Files.exists("/sys/class/net/\(name)") else { return }
        try NetworkTool.run(
            tool, ["link", "delete", "dev", name], message: "the network of a space could not be removed")
    }

    private static func hardwareAddress(_ name: String) -> String {
        var hash: UInt64 = 0xcbf2_9ce4_8422_2325
        for byte in name.utf8 { hash = (hash ^ UInt64(byte)) &* 0x100_0000_01b3 }
        // 02: locally administered, a single station.
        return "02"
            + (0..<5).map { index in
                let text = String(hash >> UInt64(index * 8 + 8) & 0xff, radix: 16)
                return ":" + (text.count < 2 ? "0" : "") + text
            }.joined()
    }
}
