/// A network namespace of one container: where it is and what it has. Addresses are plain, without prefix length.
public struct NetworkAttachment: Codable, Sendable, Hashable {
    /// A file that stands for the namespace: for `linux.namespaces` of the OCI spec and for setns.
    public var namespacePath: String
    public var address4: String
    public var address6: String
    /// The bridge's own addresses: the container's default routes.
    public var gateway4: String
    public var gateway6: String
    /// For the container's `resolv.conf`, in order.
    public var resolvers: [String]

    public init(
        namespacePath: String, address4: String, address6: String, gateway4: String, gateway6: String,
        resolvers: [String]
    ) {
        self.namespacePath = namespacePath
        self.address4 = address4
        self.address6 = address6
        self.gateway4 = gateway4
        self.gateway6 = gateway6
        self.resolvers = resolvers
    }
}
