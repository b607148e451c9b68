import Glibc

/// An IPv4 or IPv6 network in CIDR form. A single address is a network of full length.
struct IPNetwork: Hashable, Sendable, CustomStringConvertible {
    /// 4 or 16 bytes; those behind the prefix are zero.
    let bytes: [UInt8]
    /// Length of the prefix in bits.
    let prefix: Int

    var isIPv4: Bool { bytes.count == 4 }

    /// Host bits are cleared.
    /// - Precondition: 4 or 16 bytes and a prefix that fits.
    init(bytes: [UInt8], prefix: Int) {
        precondition((bytes.count == 4 || bytes.count == 16) && (0...bytes.count * 8).contains(prefix))
        self.bytes = bytes.enumerated().map { index, byte in
            let kept = min(8, max(0, prefix - index * 8))
            return kept == 0 ? 0 : byte & (0xff << UInt8(8 - kept))
        }
        self.prefix = prefix
    }

    /// From `10.0.0.0/8`, `fd00::/48` or a single address; nil for anything else. Host bits are cleared.
    init?(_ text: some StringProtocol) {
        let parts = text.split(separator: "/", omittingEmptySubsequences: false)
        guard (1...2).contains(parts.count), let bytes = Self.addressBytes(String(parts[0])) else { return nil }
        var prefix = bytes.count * 8
        if parts.count == 2 {
            guard parts[1].utf8.allSatisfy({ (48...57).contains($0) }), let length = Int(parts[1]), length <= prefix
            else { return nil }
            prefix = length
        }
        self.init(bytes: bytes, prefix: prefix)
    }

    /// The bytes of an address without prefix and zone; nil if it is none.
    static func addressBytes(_ text: String) -> [UInt8]? {
        var v4 = [UInt8](repeating: 0, count: 4)
        if inet_pton(AF_INET, text, &v4) == 1 { return v4 }
        var v6 = [UInt8](repeating: 0, count: 16)
        return inet_pton(AF_INET6, text, &v6) == 1 ? v6 : nil
    }

    static func text(_ address: [UInt8]) -> String {
        var buffer = [CChar](repeating: 0, count: Int(INET6_ADDRSTRLEN))
        let family = address.count == 4 ? AF_INET : AF_INET6
        guard inet_ntop(family, address, &buffer, socklen_t(buffer.count)) != nil else { return "?" }
        return String(decoding: buffer.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    var description: String { "\(Self.text(bytes))/\(prefix)" }

    /// True if all of `other` lies inside.
    func contains(_ other: IPNetwork) -> Bool {
        guard bytes.count == other.bytes.count, prefix <= other.prefix else { return false }
        return IPNetwork(bytes: other.bytes, prefix: prefix) == self
    }

    func contains(address: String) -> Bool { IPNetwork(address).map(contains) ?? false }

    func overlaps(_ other: IPNetwork) -> Bool { contains(other) || other.contains(self) }

    /// Address number `n` inside.
    func address(_ n: Int) -> String {
        var result = bytes
        var carry = n
        var index = result.count - 1
        while carry > 0 && index >= 0 {
            let sum = Int(result[index]) + (carry & 0xff)
            result[index] = UInt8(sum & 0xff)
            carry = (carry >> 8) + (sum >> 8)
            index -= 1
        }
        return Self.text(result)
    }

    /// Without those that lie inside another: nftables refuses overlapping elements.
    static func withoutNested(_ networks: [IPNetwork]) -> [IPNetwork] {
        var kept: [IPNetwork] = []
        for network in networks.sorted(by: { $0.prefix < $1.prefix })
        where !kept.contains(where: { $0.contains(network) }) {
            kept.append(network)
        }
        return kept
    }
}
