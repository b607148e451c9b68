import Domain
import FoundationEssentials
import Glibc
import Logging
import OS
import Testing

@testable import Router

/// Tests with real sockets run one after another: several measure time and memory.
@Suite(.serialized) enum SocketTests {}

/// A folder, a fake paasd and a table for one test.
final class Bench: Sendable {
    let folder: String
    let paasd: FakePaaSD
    let tableID = "table-1"
    let bootID = "boot-1"

    init() throws {
        folder = "/tmp/slipway-router-\(UUID().uuidString.prefix(8))"
        try Files.makeDirectories(folder + "/data/router")
        let settings = try Settings(
            environment: ["PAAS_DATA_DIR": folder + "/data", "PAAS_RUN_DIR": folder + "/run"], file: "")
        try Files.makeDirectories(Files.parent(settings.tableSocket))
        paasd = try FakePaaSD(path: settings.tableSocket)
    }

    func cleanUp() throws {
        paasd.close()
        // The router's writer may still be busy in it.
        try eventually("the folder is gone") {
            do { try Files.removeTree(folder) } catch {}
            return !Files.exists(folder)
        }
    }

    var configuration: RouterConfiguration {
        RouterConfiguration(
            tableSocket: paasd.path, copyPath: folder + "/data/router/table.json", bootID: bootID,
            routerID: "local-test",
            loops: 2)
    }

    func table(_ revision: Int64, _ routes: [RoutingTable.Route], boot: String? = nil) -> RoutingTable {
        RoutingTable(
            mark: .init(tableID: tableID, revision: revision, bootID: boot ?? bootID),
            routes: routes.sorted { $0.binding < $1.binding })
    }

    static func route(
        _ id: BindingID, port: UInt16, idle: Int = 3600, connect: Int = 2000,
        affinity: PortBinding.Affinity = .none, _ backends: [RoutingTable.Backend]
    ) -> RoutingTable.Route {
        .init(
            binding: id, app: "shop", name: "web", protocol: .tcp, publicPort: port, idleTimeoutSeconds: idle,
            connectTimeoutMilliseconds: connect, affinity: affinity, backends: backends)
    }

    static func backend(_ port: UInt16, _ id: InstanceID = .random(), name: String = "web.1") -> RoutingTable.Backend {
        .init(instance: id, name: name, address4: "127.0.0.1", address6: "::1", port: port)
    }
}

/// Runs a test with a bench, and with a router unless the test starts its own; cleans up whatever happens.
func withRouter(
    configure: @escaping @Sendable (inout RouterConfiguration) -> Void = { _ in },
    _ body: @escaping @Sendable (Bench) throws -> Void
) async throws {
    try await blocking {
        Signals.ignoreBrokenPipes()
        let bench = try Bench()
        var configuration = bench.configuration
        configuration.drainMilliseconds = 0
        configure(&configuration)
        let router = try RouterServer(configuration, logger: quietLogger)
        router.start()
        defer {
            router.stop()
            router.wait()
        }
        do {
            try body(bench)
        } catch {
            try bench.cleanUp()
            throw error
        }
        try bench.cleanUp()
    }
}

let quietLogger = Logger(label: "router-test") { _ in SwiftLogNoOpLogHandler() }
