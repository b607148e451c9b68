import Domain

/// The network of containers, as the lifecycle sees it. Blocking.
public protocol ContainerNetwork: Sendable {
    /// Takes over what runs; everything else is freed.
    func start(living: [InstanceID]) throws
    /// May be repeated; answers the same for the same instance.
    func acquire(networkIndex: Int, instance: InstanceID) throws -> NetworkAttachment
    /// Fine if it has nothing.
    func release(instance: InstanceID) throws
    /// Removes every interface, namespace and table of this platform.
    func teardown() throws
}

/// Images and build volumes, as the lifecycle sees them. Blocking.
public protocol ContainerImages: Sendable {
    func mountStack(_ name: String, kind: StackKind, uidSlot: Int, at path: String) throws
    func mountSlug(_ digest: SlugDigest, uidSlot: Int, at path: String) throws
    func unmount(at path: String) throws
    func buildPaths(build: BuildID) -> BuildPaths
}
