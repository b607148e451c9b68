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
    private let dependencies: APIDependencies
    private let address: ListenAddress
    private let logger: Logger

    /// - Throws: `invalid` if the address can't be used, or is not loopback while plain HTTP isn't allowed there.
    public init(_ dependencies: APIDependencies, logger: Logger) throws(PaaSError) {
        self.dependencies = dependencies
        self.logger = logger
        address = try ListenAddress(dependencies.settings.apiAddress)
        guard address.isLoopback || dependencies.settings.apiPlaintext else {
            throw PaaSError(
                .invalid,
                "PAAS_API_ADDRESS \(dependencies.settings.apiAddress) is not loopback, and tokens would cross the network in clear; use 127.0.0.1 behind a TLS proxy, or set PAAS_API_PLAINTEXT=1"
            )
        }
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
            responder: responder(),
            configuration: ApplicationConfiguration(
                address: .hostname(address.host, port: address.port), serverName: "slipway"),
            onServerRunning: { _ in onRunning() }, logger: logger)
    }

    /// The routing table, on `Settings.tableSocket`. Whoever can reach the socket may read the table: its directory has to
    /// be closed to all but the routers' user.
    public func routingApplication(onRunning: @escaping @Sendable () -> Void = {}) -> some ApplicationProtocol {
        let path = dependencies.settings.tableSocket
        let logger = logger
        return Application(
            responder: RoutingResponder(feed: dependencies.routing),
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

    private func responder() -> APIResponder {
        let authenticator = Authenticator(store: dependencies.store)
        let stackBuilds = StackBuilds(engine: dependencies.buildEngine, epoch: dependencies.epoch, logger: logger)
        let counter = RequestCounter()
        let routes =
            AppEndpoints(dependencies: dependencies).routes + ConfigEndpoints(dependencies: dependencies).routes
            + FormationEndpoints(dependencies: dependencies).routes + BuildEndpoints(dependencies: dependencies).routes
            + ReleaseEndpoints(dependencies: dependencies).routes
            + ProcessEndpoints(dependencies: dependencies).routes + PortEndpoints(dependencies: dependencies).routes
            + LogEndpoints(dependencies: dependencies).routes + EventEndpoints(dependencies: dependencies).routes
            + AdministrationEndpoints(dependencies: dependencies).routes
            + PlatformEndpoints(dependencies: dependencies, stackBuilds: stackBuilds).routes
            + MetricsEndpoint(dependencies: dependencies, counter: counter).routes
        return APIResponder(
            routes: routes, authenticator: authenticator,
            git: GitEndpoint(dependencies: dependencies, authenticator: authenticator), store: dependencies.store,
            counter: counter, recheckSeconds: dependencies.streamRecheckSeconds, clock: dependencies.clock)
    }
}
