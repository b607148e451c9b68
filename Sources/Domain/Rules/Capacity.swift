/// How many apps and spaces the host has numbers for: uid ranges and networks.
public struct Capacity: Sendable, Hashable {
    /// Most apps that there can be.
    public var apps: Int
    /// Most spaces that there can be.
    public var spaces: Int

    /// Users of one app.
    static let usersPerApp: Int64 = 65_536
    /// The engine takes no higher number.
    static let maximumApps = 60_000
    /// Prefixes of one space's networks.
    static let spacePrefixV4 = 22
    static let spacePrefixV6 = 64

    public init(apps: Int, spaces: Int) {
        self.apps = apps
        self.spaces = spaces
    }

    /// - Throws: `invalid` if `PAAS_SUBNETS` names no networks with a prefix length.
    public init(_ settings: Settings) throws(PaaSError) {
        let highest = (Int64(UInt32.max) - Self.usersPerApp - Int64(settings.uidBase)) / Self.usersPerApp - 1
        apps = max(0, min(Int(highest), Self.maximumApps) + 1)
        spaces = min(
            try Self.parts(settings.subnetV4, of: Self.spacePrefixV4),
            try Self.parts(settings.subnetV6, of: Self.spacePrefixV6))
    }

    private static func parts(_ network: String, of prefix: Int) throws(PaaSError) -> Int {
        guard let text = network.split(separator: "/").dropFirst().first, let length = Int(text), length >= 0 else {
            throw PaaSError(
                .invalid, "PAAS_SUBNETS: \(Names.quoted(network)) needs a prefix length, as in 10.213.0.0/16")
        }
        return length > prefix ? 0 : 1 << min(prefix - length, 32)
    }
}
