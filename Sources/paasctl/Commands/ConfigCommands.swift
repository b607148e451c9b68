import ArgumentParser
import Domain
import FoundationEssentials

struct Config: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Show and change config vars.", subcommands: [List.self, Set.self, Unset.self, Get.self],
        defaultSubcommand: List.self)

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Show all config vars with their values.")
        @OptionGroup var app: AppOption
        @OptionGroup var connection: ConnectionOptions
        @OptionGroup var output: JSONOption

        func run() async throws {
            let name = try app.name()
            let reply = try await connection.session().client().send(.get, "/api/v1/apps/\(name)/config")
            if let warning = Config.warning(
                reply.config["state"], release: reply.config["release"], running: reply.config["running-version"],
                app: name)
            {
                Console.note("paasctl: \(warning)")
            }
            let vars = reply.json
            if output.isJSON { return Console.print(json: vars) }
            let members = vars.members ?? []
            if members.isEmpty { return Console.note("No config vars.") }
            let width = members.map(\.name.count).max() ?? 0
            for member in members {
                let text = member.value.stringValue ?? "(not text; paasctl config get \(member.name))"
                Console.print(
                    Console.safe(
                        "\(member.name):\(String(repeating: " ", count: width - member.name.count + 1))\(text)"))
            }
        }
    }

    struct Get: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Print one value, with a newline behind it when the output is a terminal or the value is text.")
        @Argument var key: String
        @OptionGroup var app: AppOption
        @OptionGroup var connection: ConnectionOptions
        @OptionGroup var output: JSONOption

        func run() async throws {
            let name = try app.name()
            let vars = try await connection.session().client().get("/api/v1/apps/\(name)/config")
            guard let value = vars[key] else { throw Failure("\(name) has no config var \(Names.quoted(key))") }
            if output.isJSON { return Console.print(json: .object([.init(key, value)])) }
            if let text = value.stringValue { return Console.print(bytes: Array(text.utf8) + [10]) }
            guard let encoded = value["base64"]?.stringValue, let data = Data(base64Encoded: encoded) else {
                throw Failure("the API gave a value that can't be read")
            }
            Console.print(bytes: Array(data))
        }
    }

    struct Set: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Set config vars: one command makes one release.",
            discussion: """
                paasctl config set A=1 B='two words'   values as given
                paasctl config set KEY --stdin         standard input becomes the value of KEY, byte for byte
                paasctl config set KEY --file F        the same from a file
                """)
        @Argument(help: "KEY=VALUE …, or one KEY with --stdin or --file") var assignments: [String]
        @Flag(help: "Read the value of KEY from standard input, byte for byte.") var stdin = false
        @Option(help: "Read the value of KEY from this file, byte for byte.") var file: String?
        @OptionGroup var wait: WaitOption
        @OptionGroup var app: AppOption
        @OptionGroup var connection: ConnectionOptions
        @OptionGroup var output: JSONOption

        func run() async throws {
            let name = try app.name()
            let members = try self.members()
            let client = try connection.session().client()
            let reply = try await client.send(.patch, "/api/v1/apps/\(name)/config", body: .object(members))
            let keys = members.map(\.name).joined(separator: ", ")
            try await Config.report(
                client, reply, "Setting \(keys)", app: name, waits: wait.waits, json: output.isJSON)
        }

        private func members() throws -> [JSONValue.Member] {
            if stdin || file != nil {
                guard !(stdin && file != nil) else { throw ValidationError("give --stdin or --file, not both") }
                guard assignments.count == 1, let key = assignments.first, !key.contains("=") else {
                    throw ValidationError("with --stdin or --file give exactly one KEY, without =")
                }
                let limit = ConfigValue.maximumBytes
                let bytes =
                    try file.map { try StandardInput.readFile($0, limit: limit) }
                    ?? StandardInput.readAll(name: "standard input", limit: limit)
                return [try Self.member(key, bytes)]
            }
            var members: [JSONValue.Member] = []
            for text in assignments {
                guard let equals = text.utf8.firstIndex(of: UInt8(ascii: "=")) else {
                    throw ValidationError(
                        "'\(text.prefix(40))' is not KEY=VALUE; for a value from a file: paasctl config set KEY --file F"
                    )
                }
                let key = String(text[..<equals])
                guard !members.contains(where: { $0.name == key }) else {
                    throw ValidationError("\(key) is given twice")
                }
                members.append(try Self.member(key, Array(text[text.utf8.index(after: equals)...].utf8)))
            }
            return members
        }

        private static func member(_ key: String, _ bytes: [UInt8]) throws -> JSONValue.Member {
            let value = try Usage.check { () throws(PaaSError) in
                try Names.validateConfigKey(key)
                return try ConfigValue(bytes)
            }
            let json =
                value.text.map { JSONValue.string($0) }
                ?? .object([.init("base64", .string(Data(bytes).base64EncodedString()))])
            return .init(key, json)
        }
    }

    struct Unset: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Remove config vars: one command makes one release.")
        @Argument var keys: [String]
        @OptionGroup var wait: WaitOption
        @OptionGroup var app: AppOption
        @OptionGroup var connection: ConnectionOptions
        @OptionGroup var output: JSONOption

        func run() async throws {
            let name = try app.name()
            for key in keys {
                guard !key.contains("=") else { throw ValidationError("give keys without values") }
                try Usage.check { () throws(PaaSError) in try Names.validateConfigKeyForm(key) }
            }
            let client = try connection.session().client()
            var members: [JSONValue.Member] = []
            for key in keys where !members.contains(where: { $0.name == key }) { members.append(.init(key, .null)) }
            let reply = try await client.send(.patch, "/api/v1/apps/\(name)/config", body: .object(members))
            try await Config.report(
                client, reply, "Unsetting \(keys.joined(separator: ", "))", app: name, waits: wait.waits,
                json: output.isJSON)
        }
    }

    /// Why the processes have another config than the one that was set; nil if they have it, or there are none yet.
    static func warning(_ state: String?, release: String?, running: String?, app: String) -> String? {
        guard let running, let state, state != "running" else { return nil }
        let present = "the processes of \(app) still have config version \(running)"
        guard let release else { return "\(present); the next release brings this one" }
        let look = "paasctl releases info v\(release) -a \(app)"
        return switch state {
        case "rolling": "\(present); release v\(release) is bringing this one"
        case "failed": "\(present): release v\(release) with this one failed (\(look)); set what was wrong again"
        default: "\(present): release v\(release) with this one was \(state); the next release brings it"
        }
    }

    /// Tells what a change leads to: a release, or nothing yet.
    private static func report(
        _ client: APIClient, _ reply: APIClient.Reply, _ what: String, app: String, waits: Bool, json: Bool
    ) async throws {
        guard reply.json.text("target").hasSuffix("/config") else {
            return try await client.report(reply, "\(what) and restarting \(app)", waits: waits, json: json)
        }
        if json { Console.print(json: reply.json) }
        let isReleased = try await client.get("/api/v1/apps/\(app)")["currentRelease"]?.integerValue != nil
        Console.note(
            "\(what)... done; "
                + (isReleased ? "nothing changed, so that nothing restarts" : "it takes effect with the first release"))
    }
}
