import Domain

/// Which part of `PAAS_SUBNETS` belongs to which space: an IPv4 /22 and an IPv6 /64 each. Pure arithmetic.
struct SubnetPlan: Sendable, Hashable {
    struct Space: Sendable, Hashable {
        var index: Int
        var v4: IPNetwork
        var v6: IPNetwork
        /// First address of each: the bridge's own, plain text without prefix.
        var gateway4: String { v4.address(1) }
        var gateway6: String { v6.address(1) }
    }

    static let prefix4 = 22
    static let prefix6 = 64

    let v4: IPNetwork
    let v6: IPNetwork

    /// - Throws: `.invalid` naming what `PAAS_SUBNETS` must be.
    init(v4 text4: String, v6 text6: String) throws(PaaSError) {
        let example =
            "PAAS_SUBNETS must be an IPv4 network of /20 or larger and an IPv6 /48, as in 10.213.0.0/16,fd5a:1bab::/48"
        func network(_ text: String, _ isIPv4: Bool) throws(PaaSError) -> IPNetwork {
            guard text.contains("/"), let network = IPNetwork(text), network.isIPv4 == isIPv4 else {
                throw PaaSError(.invalid, "\(example); '\(text)' is no such network")
            }
            let address = text.prefix { $0 != "/" }
            guard IPNetwork.addressBytes(String(address)) == network.bytes else {
                throw PaaSError(.invalid, "\(example); '\(text)' has bits behind the prefix: write \(network)")
            }
            return network
        }
        v4 = try network(text4, true)
        v6 = try network(text6, false)
        guard (8...20).contains(v4.prefix) else {
            throw PaaSError(.invalid, "\(example); /\(v4.prefix) is not from /8 to /20")
        }
        guard v6.prefix == 48 else { throw PaaSError(.invalid, "\(example); /\(v6.prefix) is not /48") }
    }

    /// How many spaces fit.
    var spaceCount: Int { min(1 << (Self.prefix4 - v4.prefix), 1 << (Self.prefix6 - v6.prefix)) }

    /// - Throws: `.exhausted` if the networks have no part of this number.
    func space(_ index: Int) throws(PaaSError) -> Space {
        guard index >= 0, index < spaceCount else {
            throw PaaSError(
                .exhausted,
                "PAAS_SUBNETS (\(v4), \(v6)) has room for \(spaceCount) spaces, numbered from 0, and not for number \(index): "
                    + "delete a space, or stop the platform and set a larger IPv4 network")
        }
        return Space(
            index: index, v4: Self.part(v4, index, Self.prefix4), v6: Self.part(v6, index, Self.prefix6))
    }

    private static func part(_ network: IPNetwork, _ index: Int, _ prefix: Int) -> IPNetwork {
        var bytes = network.bytes
        for bit in 0..<(prefix - network.prefix) where index >> bit & 1 == 1 {
            let position = prefix - 1 - bit
            bytes[position / 8] |= 0x80 >> UInt8(position % 8)
        }
        return IPNetwork(bytes: bytes, prefix: prefix)
    }
}
