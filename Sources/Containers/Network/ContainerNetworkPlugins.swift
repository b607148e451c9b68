import Domain
import FoundationEssentials
import Glibc
import OS

/// Runs the CNI plugins of the host (specification 1.0): `loopback`, `bridge`, `host-local`.
struct ContainerNetworkPlugins: Sendable {
    /// What a plugin said about its failure.
    struct Failure: Error, Decodable, CustomStringConvertible {
        var code: Int
        var msg: String
        var details: String?
        var description: String { "CNI error \(code): \(msg)" + (details.map { " (\($0))" } ?? "") }
    }

    private struct Outcome: Decodable {
        struct Address: Decodable { var address: String }
        var ips: [Address]?
    }

    static let interface = "eth0"

    private let folder: String
    /// host-local's own files: an address is taken as long as its file is there.
    private let reservations: String

    init(reservations: String) throws(PaaSError) {
        self.reservations = reservations
        var found: String?
        for folder in ["/usr/lib/cni", "/opt/cni/bin"] where found == nil {
            if ["bridge", "host-local", "loopback"].allSatisfy({ access("\(folder)/\($0)", X_OK) == 0 }) {
                found = folder
            }
        }
        guard let found else {
            throw PaaSError(
                .unavailable, "the CNI plugins are not installed: apt-get install containernetworking-plugins",
                source: .platform, retry: .safe)
        }
        folder = found
    }

    /// Gives a namespace `lo`.
    func bringUpLoopback(_ id: String, namespace: String) throws(PaaSError) {
        try run(
            "loopback", "ADD", id, namespace: namespace, interface: "lo",
            .object([
                .init("cniVersion", .string("1.0.0")), .init("name", .string("lo")), .init("type", .string("loopback")),
            ]))
    }

    /// Gives a namespace `lo` and `eth0` with addresses of both families.
    func attach(_ id: String, namespace: String, bridge: String, space: SubnetPlan.Space) throws(PaaSError) -> (
        address4: String, address6: String
    ) {
        try bringUpLoopback(id, namespace: namespace)
        let output = try run(
            "bridge", "ADD", id, namespace: namespace, interface: Self.interface,
            configuration(bridge: bridge, space: space))
        let addresses: [String]
        do {
            let outcome = try JSONDecoder().decode(Outcome.self, from: Data(output))
            addresses = (outcome.ips ?? []).map { String($0.address.prefix { $0 != "/" }) }
        } catch {
            throw PaaSError(.internal, "the CNI plugin 'bridge' gave an answer that can't be read", cause: error)
        }
        guard let address4 = addresses.first(where: space.v4.contains(address:)),
            let address6 = addresses.first(where: space.v6.contains(address:))
        else {
            throw PaaSError(.internal, "the CNI plugin 'bridge' gave no address of each family")
        }
        return (address4, address6)
    }

    /// Removes the interface; its addresses stay taken until `free`.
    func detach(_ id: String, namespace: String, bridge: String) throws(PaaSError) {
        try run(
            "bridge", "DEL", id, namespace: namespace, interface: Self.interface,
            .object([
                .init("cniVersion", .string("1.0.0")), .init("name", .string(bridge)), .init("type", .string("bridge")),
                .init("bridge", .string(bridge)),
            ]))
    }

    /// Gives the addresses back. Fine if there are none.
    func free(_ id: String, bridge: String, space: SubnetPlan.Space) throws(PaaSError) {
        try run(
            "host-local", "DEL", id, namespace: nil, interface: Self.interface,
            configuration(bridge: bridge, space: space))
    }

    /// Who holds addresses of a space, by the names given to `attach`.
    func holders(bridge: String) throws(PaaSError) -> Set<String> {
        try NetworkTool.system("the addresses in use could not be read") { () throws(SystemError) in
            let folder = "\(reservations)/\(bridge)"
            var ids: Set<String> = []
            for name in try Files.list(folder) where IPNetwork.addressBytes(name) != nil {
                let text = try Files.readText("\(folder)/\(name)", limit: 4096) ?? ""
                // First line: the container's id; second: the interface.
                if let id = text.split(whereSeparator: { $0.isNewline }).first { ids.insert(String(id)) }
            }
            return ids
        }
    }

    private func configuration(bridge: String, space: SubnetPlan.Space) -> JSONValue {
        func range(_ network: IPNetwork, _ gateway: String) -> JSONValue {
            .array([
                .object([.init("subnet", .string(network.description)), .init("gateway", .string(gateway))])
            ])
        }
        return .object([
            .init("cniVersion", .string("1.0.0")), .init("name", .string(bridge)), .init("type", .string("bridge")),
            .init("bridge", .string(bridge)), .init("isGateway", .bool(true)), .init("isDefaultGateway", .bool(true)),
            .init("ipMasq", .bool(false)), .init("hairpinMode", .bool(false)), .init("promiscMode", .bool(false)),
            .init(
                "ipam",
                .object([
                    .init("type", .string("host-local")), .init("dataDir", .string(reservations)),
                    .init("ranges", .array([range(space.v4, space.gateway4), range(space.v6, space.gateway6)])),
                ])),
        ])
    }

    @discardableResult
    private func run(
        _ plugin: String, _ command: String, _ id: String, namespace: String?, interface: String,
        _ configuration: JSONValue
    ) throws(PaaSError) -> [UInt8] {
        var environment = ProcessSpec.plainEnvironment
        environment["CNI_COMMAND"] = command
        environment["CNI_CONTAINERID"] = id
        environment["CNI_NETNS"] = namespace ?? ""
        environment["CNI_IFNAME"] = interface
        environment["CNI_PATH"] = folder
        var prepared = ProcessSpec("\(folder)/\(plugin)", [], environment: environment)
        // Nothing goes on behind the back of the next engine.
        prepared.parentDeathSignal = SIGKILL
        let spec = prepared
        let message =
            "a container's network could not be \(command == "ADD" ? "made" : "removed") (CNI plugin '\(plugin)')"
        let result = try NetworkTool.system(message) { () throws(SystemError) in
            try Command(spec, timeoutSeconds: 20).run(input: configuration.encoded())
        }
        if result.status == 0, !result.timedOut { return result.output }
        do {
            let failure = try JSONDecoder().decode(Failure.self, from: Data(result.output))
            if failure.msg.contains("no IP addresses available") {
                throw PaaSError(
                    .exhausted, "all addresses of this space's network are in use: scale something down", cause: failure
                )
            }
            throw PaaSError(.internal, message, cause: failure)
        } catch let error as PaaSError {
            throw error
        } catch {
            let text = String(decoding: (result.errorOutput + result.output).prefix(2000), as: UTF8.self)
            throw PaaSError(
                .internal, message,
                cause: NetworkToolError(
                    tool: plugin, arguments: [command], status: result.status, timedOut: result.timedOut, output: text))
        }
    }
}
