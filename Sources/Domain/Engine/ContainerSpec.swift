/// What the scheduler or the builder wants to run. Holds only what we choose; node, address and start time are observations.
public struct ContainerSpec: Sendable, Codable, Hashable {
    public enum Role: Sendable, Codable, Hashable {
        /// A process of an app, from a slug at `/app`.
        case process(slug: SlugDigest)
        /// A build, in the build volume made before by `createBuildVolume`.
        case build
    }

    /// Whom a container reaches.
    public enum Network: String, Sendable, Codable, Hashable {
        /// The network of its app's space, and from there the outside.
        case space
        /// Itself only: a namespace with nothing but loopback.
        case none
    }

    public struct Limits: Sendable, Codable, Hashable {
        public var memoryBytes: Int64
        /// Thousandths of a core.
        public var cpuMillis: Int
        public var pids: Int
        /// Writable layer on tmpfs, charged to the memory limit.
        public var writableBytes: Int64
        public var openFiles: Int
        public init(
            memoryBytes: Int64, cpuMillis: Int, pids: Int = 512, writableBytes: Int64 = 64 << 20,
            openFiles: Int = 16_384
        ) {
            self.memoryBytes = memoryBytes
            self.cpuMillis = cpuMillis
            self.pids = pids
            self.writableBytes = writableBytes
            self.openFiles = openFiles
        }
    }

    public struct RequiredPort: Sendable, Codable, Hashable {
        public var `protocol`: TransportProtocol
        public var number: UInt16
        public init(protocol: TransportProtocol, number: UInt16) {
            self.protocol = `protocol`
            self.number = number
        }
    }

    /// The instance's id, or the build's as an instance id.
    public var id: InstanceID
    public var epoch: Int64
    public var generation: Int64
    public var role: Role
    public var app: AppID
    public var appName: String
    /// `web.1` or `build.12`: host name, log name.
    public var name: String
    public var networkIndex: Int
    public var uidSlot: Int
    public var stack: String
    /// For `bash -c`, with `exec` in front. For builds: the driver's argument list is fixed by the engine and this is ignored.
    public var command: String
    public var environment: [EnvironmentVariable]
    /// Builds only: config vars, as files of ENV_DIR on a tmpfs.
    public var environmentFiles: [EnvironmentVariable]
    public var limits: Limits
    /// Ready when all of them are bound on a non-loopback address. Empty: ready as soon as it runs.
    public var requiredPorts: [RequiredPort]
    /// From SIGTERM to SIGKILL when the engine itself must end it (a build at its limit).
    public var timeLimitSeconds: Int?
    /// `none` is for builds. Absent in what an older paasd sends: `space`.
    public var network: Network

    public init(
        id: InstanceID, epoch: Int64, generation: Int64, role: Role, app: AppID, appName: String, name: String,
        networkIndex: Int, uidSlot: Int, stack: String, command: String, environment: [EnvironmentVariable],
        environmentFiles: [EnvironmentVariable] = [], limits: Limits, requiredPorts: [RequiredPort] = [],
        timeLimitSeconds: Int? = nil, network: Network = .space
    ) {
        self.id = id
        self.epoch = epoch
        self.generation = generation
        self.role = role
        self.app = app
        self.appName = appName
        self.name = name
        self.networkIndex = networkIndex
        self.uidSlot = uidSlot
        self.stack = stack
        self.command = command
        self.environment = environment
        self.environmentFiles = environmentFiles
        self.limits = limits
        self.requiredPorts = requiredPorts
        self.timeLimitSeconds = timeLimitSeconds
        self.network = network
    }
}

extension KeyedDecodingContainer {
    /// What the decoder of `ContainerSpec` calls, in the place of the general function.
    func decode(_ type: ContainerSpec.Network.Type, forKey key: Key) throws -> ContainerSpec.Network {
        try decodeIfPresent(type, forKey: key) ?? .space
    }
}
