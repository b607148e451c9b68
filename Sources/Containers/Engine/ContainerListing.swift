import Domain
import OS

/// What the engine's own records say, readable while no engine runs.
public enum ContainerListing {
    /// All containers of this platform, sorted by id.
    public static func read(settings: Settings) throws -> [ContainerObservation] {
        let root = ContainerPaths.root(settings)
        return try Files.list(root).compactMap { name in
            guard let id = InstanceID(name) else { return nil }
            return ContainerRecord.read(ContainerPaths(settings: settings, id: id).state)?.observation(
                node: Host.name())
        }
    }
}
