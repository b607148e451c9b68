import Domain

/// The network of containers, as their lifecycle sees it. Blocking; throws `PaaSError`.
public protocol ContainerNetwork: Sendable {
    /// Takes over what runs; everything else is freed.
    func start(living: [InstanceID]) throws
    /// May be repeated; answers the same for the same instance.
    func acquire(networkIndex: Int, instance: InstanceID) throws -> NetworkAttachment
    /// A namespace with nothing but loopback, at a file that must not exist yet. It ends with the file's mount and the last
    /// process in it.
    func makeIsolated(at path: String) throws
    /// Fine if it has nothing.
    func release(instance: InstanceID) throws
}

/// Images and build volumes, as the lifecycle of containers sees them. Blocking; throws `PaaSError`.
public protocol ContainerImages: Sendable {
    /// Read-only, owners mapped to the app's range. With `forBuild` the larger root with compilers.
    func mountStack(named name: String, forBuild: Bool, uidSlot: Int, at path: String) throws
    func mountSlug(_ digest: SlugDigest, uidSlot: Int, at path: String) throws
    /// Fine if nothing is mounted there.
    func unmount(at path: String) throws
    func buildPaths(build: BuildID) -> BuildPaths
}
