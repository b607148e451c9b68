import ArgumentParser
import Domain

struct Ports: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Show and change port bindings.", subcommands: [List.self, Add.self, Remove.self],
        defaultSubcommand: List.self)

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "List the port bindings of an app.")
        @OptionGroup var app: AppOption
        @OptionGroup var connection: ConnectionOptions
        @OptionGroup var output: JSONOption

        func run() async throws {
            let name = try app.name()
            let ports = try await connection.session().client().list("/api/v1/apps/\(name)/ports")
            if output.isJSON { return Console.print(json: .array(ports)) }
            if ports.isEmpty {
                return Console.note("No port bindings; add one with: paasctl ports add NAME --protocol tcp -a \(name)")
            }
            Console.table(
                ["NAME", "PROTOCOL", "PUBLIC", "PROCESS", "TARGET", "STATE"],
                ports.map { port in
                    [
                        port.text("name"), port.text("protocol"), Ports.publicAddress(port), port.text("process"),
                        port.text("targetPort"),
                        port["reason"]?.stringValue.map { "\(port.text("state")): \($0)" } ?? port.text("state"),
                    ]
                })
        }
    }

    struct Add: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Add or change a port binding.")
        @Argument var name: String
        @Option(name: .customLong("protocol"), help: "tcp, udp, sctp, http or tls.") var kind: String
        @Option(help: "Process type that it leads to. Default: web.") var process: String?
        @Option(help: "Port that the process listens on. Default: 5000 for a type's first binding, then 5001 …")
        var target: Int?
        @Option(name: .customLong("public"), help: "Public port. Default: a free one of the range.") var publicPort:
            Int?
        @Option(help: "Host name (http, tls).") var host: String?
        @Option(help: "Path prefix (http).") var path: String?
        @Option(help: "none or source.") var affinity: String?
        @Option(help: "none, v1 or v2.") var proxyProtocol: String?
        @Option(help: "Seconds that flows get to end before a process stops.") var drain: Int?
        @Option(help: "auto, user or kernel.") var plane: String?
        @OptionGroup var app: AppOption
        @OptionGroup var connection: ConnectionOptions
        @OptionGroup var output: JSONOption

        func run() async throws {
            let client = try connection.session().client()
            let app = try app.name()
            var members: [JSONValue.Member] = [.init("protocol", .string(kind))]
            for (field, value) in [
                ("process", process), ("host", host), ("path", path), ("affinity", affinity),
                ("proxyProtocol", proxyProtocol), ("plane", plane),
            ] {
                if let value { members.append(.init(field, .string(value))) }
            }
            for (field, value) in [("targetPort", target), ("publicPort", publicPort), ("drainSeconds", drain)] {
                if let value { members.append(.init(field, .integer(Int64(value)))) }
            }
            let reply = try await client.send(
                .put, "/api/v1/apps/\(app)/ports/\(URLText.encode(name))", body: .object(members))
            if output.isJSON { return Console.print(json: reply.json) }
            Console.note("\(reply.status == 201 ? "Adding" : "Changing") port \(name) of \(app)... done")
            Console.print(
                "\(Ports.publicAddress(reply.json)) -> \(reply.json.text("process")):\(reply.json.text("targetPort"))")
        }
    }

    struct Remove: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Remove a port binding.")
        @Argument var name: String
        @OptionGroup var app: AppOption
        @OptionGroup var connection: ConnectionOptions

        func run() async throws {
            let client = try connection.session().client()
            let app = try app.name()
            _ = try await client.send(.delete, "/api/v1/apps/\(app)/ports/\(URLText.encode(name))")
            Console.note("Removing port \(name) of \(app)... done")
        }
    }

    static func publicAddress(_ port: JSONValue) -> String {
        let address = port.text("publicAddress")
        return "\(address.contains(":") ? "[\(address)]" : address):\(port.text("publicPort"))"
    }
}
