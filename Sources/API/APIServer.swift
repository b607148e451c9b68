import Domain
import Hummingbird
import HummingbirdCore
import Logging
import NIOCore

#if canImport(Glibc)
    import Glibc
#endif

/// The control plane's front: REST, git over HTTP and event streams on `PAAS_API_ADDRESS`, and the routing table on a
/// socket of its own for routers.
public struct APIServer: Sendable {
    private let settings: Settings
    private let address: ListenAddress
    private let logger: Logger
    private let api = StartingResponder<APIResponder>()
    private let routing = StartingResponder<RoutingResponder>()

    /// Answers nothing but that it is starting until `begin` is called.
    /// - Throws: `invalid` if the address can't be used, or is not loopback while plain HTTP isn't allowed there.
    public init(settings: Settings, logger: Logger) throws(PaaSError) {
        self.settings = settings
        self.logger = logger
        address = try ListenAddress(settings.apiAddress)
        guard address.isLoopback || settings.apiPlaintext else {
            throw PaaSError(
                .invalid,
                "PAAS_API_ADDRESS \(settings.apiAddress) is not loopback, and tokens would cross the network in clear; use 127.0.0.1 behind a TLS proxy, or set PAAS_API_PLAINTEXT=1"
            )
        }
    }

    /// One that has begun.
    public init(_ dependencies: APIDependencies, logger: Logger) throws(PaaSError) {
        try self.init(settings: dependencies.settings, logger: logger)
        begin(dependencies)
    }

    /// The other parts are there: requests are answered from now on.
    public func begin(_ dependencies: APIDependencies) {
        api.begin(responder(dependencies))
        routing.begin(RoutingResponder(feed: dependencies.routing))
    }

    /// Serves until the task is cancelled or a socket can't be opened.
    /// - Parameter onReady: called once both sockets accept connections.
    public func run(onReady: @escaping @Sendable () -> Void = {}) async throws {
        let ready = ReadyCount(2, onReady)
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await publicApplication { ready.one() }.run() }
            group.addTask { try await routingApplication { ready.one() }.run() }
            defer { group.cancelAll() }
            try await group.next()
        }
    }

    /// REST and git over HTTP.
    public func publicApplication(onRunning: @escaping @Sendable () -> Void = {}) -> some ApplicationProtocol {
        Application(
            responder: api,
            configuration: ApplicationConfiguration(
                address: .hostname(address.host, port: address.port), serverName: "slipway"),
            onServerRunning: { _ in onRunning() }, logger: logger)
    }

    /// The routing table, on `Settings.tableSocket`. Whoever can reach the socket may read the table: its directory has to
    /// be closed to all but the routers' user.
    public func routingApplication(onRunning: @escaping @Sendable () -> Void = {}) -> some ApplicationProtocol {
        let path = settings.tableSocket
        let logger = logger
        return Application(
            responder: routing,
            configuration: ApplicationConfiguration(
                address: .unixDomainSocket(path: path), serverName: "slipway"),
            onServerRunning: { _ in
                // Routers run as a user of their own, in the group of the directory.
                if chmod(path, 0o660) != 0 {
                    logger.error("table socket: mode can't be set", metadata: ["path": "\(path)", "errno": "\(errno)"])
                }
                onRunning()
            }, logger: logger)
    }

    private func responder(_ dependencies: APIDependencies) -> APIResponder {
        let authenticator = Authenticator(store: dependencies.store, adminTokenHash: dependencies.adminTokenHash)
        let stackBuilds = StackBuilds(engine: dependencies.buildEngine, epoch: dependencies.epoch, logger: logger)
        let counter = RequestCounter()
        let routes =
            AppEndpoints(dependencies: dependencies).routes + ConfigEndpoints(dependencies: dependencies).routes
            + FormationEndpoints(dependencies: dependencies).routes + BuildEndpoints(dependencies: dependencies).routes
            + ReleaseEndpoints(dependencies: dependencies).routes + SlugEndpoints(dependencies: dependencies).routes
            + ProcessEndpoints(dependencies: dependencies).routes + PortEndpoints(dependencies: dependencies).routes
            + LogEndpoints(dependencies: dependencies).routes + EventEndpoints(dependencies: dependencies).routes
            + AdministrationEndpoints(dependencies: dependencies).routes
            + KeyEndpoints(dependencies: dependencies).routes
            + PlatformEndpoints(dependencies: dependencies, stackBuilds: stackBuilds).routes
            + MetricsEndpoint(dependencies: dependencies, counter: counter).routes
        return APIResponder(
            routes: routes, authenticator: authenticator,
            git: GitEndpoint(dependencies: dependencies, authenticator: authenticator), store: dependencies.store,
            repetitions: RepeatedRequests(store: dependencies.store), counter: counter,
            recheckSeconds: dependencies.streamRecheckSeconds, clock: dependencies.clock)
    }
}
