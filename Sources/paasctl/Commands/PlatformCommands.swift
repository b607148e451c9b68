import ArgumentParser
import Domain

struct Operations: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Show how long work is doing.")
    @Argument var id: String
    @OptionGroup var wait: WaitOption
    @OptionGroup var connection: ConnectionOptions
    @OptionGroup var output: JSONOption

    func run() async throws {
        let client = try connection.session().client()
        var json = try await client.get("/api/v1/operations/\(URLText.encode(id))")
        if wait.waits { json = try await client.wait(json, what: json.text("kind")) }
        if output.isJSON { return Console.print(json: json) }
        Console.fields([
            ("Kind", json.text("kind")), ("Target", json.text("target")), ("State", json.text("state")),
            ("Progress", "\(Int((json["progress"]?.numberValue ?? 0) * 100)) %"), ("Started", json.text("startedAt")),
            ("Finished", json.text("finishedAt")), ("Error", json["error"]?["detail"]?.stringValue ?? "-"),
        ])
    }
}

struct Nodes: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "List the machines that run processes.")
    @OptionGroup var connection: ConnectionOptions
    @OptionGroup var output: JSONOption

    func run() async throws {
        let nodes = try await connection.session().client().list("/api/v1/nodes")
        if output.isJSON { return Console.print(json: .array(nodes)) }
        Console.table(
            ["NAME", "STATE", "RUNTIME"], nodes.map { [$0.text("name"), $0.text("state"), $0.text("runtime")] })
    }
}

struct Stacks: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "List and make stacks.", subcommands: [List.self, Build.self], defaultSubcommand: List.self)

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "List the stacks.")
        @OptionGroup var connection: ConnectionOptions
        @OptionGroup var output: JSONOption

        func run() async throws {
            let stacks = try await connection.session().client().list("/api/v1/stacks")
            if output.isJSON { return Console.print(json: .array(stacks)) }
            Console.table(
                ["NAME", "STATE", "RUN IMAGE", "BUILD IMAGE", "ERROR"],
                stacks.map {
                    [
                        $0.text("name"), $0.text("state"), Self.size($0["runImageBytes"]),
                        Self.size($0["buildImageBytes"]),
                        $0["error"]?["detail"]?.stringValue ?? "-",
                    ]
                })
        }

        private static func size(_ bytes: JSONValue?) -> String {
            bytes?.integerValue.map { "\($0 >> 20) MiB" } ?? "-"
        }
    }

    struct Build: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Make a stack from its definition; takes minutes.")
        @Argument(help: "As in debian-12.") var name: String
        @OptionGroup var wait: WaitOption
        @OptionGroup var connection: ConnectionOptions
        @OptionGroup var output: JSONOption

        func run() async throws {
            let client = try connection.session().client()
            let path = "/api/v1/stacks/\(URLText.encode(name))"
            var stack = try await client.send(.post, path + "/build").json
            Console.note(
                "Building stack \(name)... \(wait.waits ? "this takes minutes" : "accepted; see: paasctl stacks")")
            while wait.waits, stack.text("state") == "building" {
                try await Task.sleep(for: .seconds(1))
                stack = try await client.patientGet(path, after: "the build goes on; see: paasctl stacks")
            }
            if output.isJSON { Console.print(json: stack) }
            if wait.waits {
                if let detail = stack["error"]?["detail"]?.stringValue { throw Failure("stack \(name): \(detail)") }
                Console.note("Stack \(name): \(stack.text("state"))")
            }
        }
    }
}

struct Doctor: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Check the host and say what to fix.", discussion: "Exit code 1 if a check failed.")
    @OptionGroup var connection: ConnectionOptions
    @OptionGroup var output: JSONOption

    func run() async throws {
        let checks = try await connection.session().client().get("/api/v1/doctor")
        let items = checks.arrayValue ?? []
        if output.isJSON {
            Console.print(json: checks)
        } else {
            for check in items {
                let mark = ["ok": "ok     ", "warning": "warning", "failed": "FAILED "][check.text("state")] ?? "?"
                Console.print(Console.safe("\(mark)  \(check.text("name")): \(check.text("found"))"))
                if let fix = check["fix"]?.stringValue { Console.print(Console.safe("         fix: \(fix)")) }
            }
        }
        if items.contains(where: { $0.text("state") == "failed" }) { throw ExitCode(1) }
    }
}

struct Status: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "How the platform does.")
    @OptionGroup var connection: ConnectionOptions
    @OptionGroup var output: JSONOption

    func run() async throws {
        let status = try await connection.session().client().get("/api/v1/status")
        if output.isJSON { return Console.print(json: status) }
        Console.fields([
            (
                "Platform",
                "\(status.text("state")), version \(status.text("version")), instance \(status.text("instance"))"
            ),
            ("Git over SSH", status["ssh"]?["url"]?.stringValue ?? "off"),
            ("Host key", status["ssh"]?["hostKey"]?.stringValue ?? "-"),
            ("Apps", status.text("apps")),
            ("Processes", "\(status.text("processesUp")) of \(status.text("processesWanted")) up"),
            ("Builds", "\(status.text("activeBuilds")) active"),
        ])
        for part in status["components"]?.arrayValue ?? [] {
            let detail = part["detail"]?.stringValue.map { ": \($0)" } ?? ""
            Console.print(Console.safe("  \(part.text("name")) \(part.text("state"))\(detail)"))
        }
        for config in status["outdatedConfigs"]?.arrayValue ?? [] {
            let warning = Config.warning(
                config["state"]?.stringValue, release: config["release"]?.integerValue.map { "\($0)" },
                running: config["runningVersion"]?.integerValue.map { "\($0)" }, app: config.text("app"))
            if let warning { Console.print(Console.safe("  config: \(warning)")) }
        }
    }
}
