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
            let vars = try await connection.session().client().get("/api/v1/apps/\(try app.name())/config")
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
            try await client.report(
                reply, "Setting \(keys) and restarting \(name)", waits: wait.waits, json: output.isJSON)
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
            do {
                try Names.validateConfigKey(key)
                let value = try ConfigValue(bytes)
                let json =
                    value.text.map { JSONValue.string($0) }
                    ?? .object([.init("base64", .string(Data(bytes).base64EncodedString()))])
                return .init(key, json)
            } catch {
                throw Failure(error.message)
            }
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
                try Names.validateConfigKey(key)
            }
            let client = try connection.session().client()
            var members: [JSONValue.Member] = []
            for key in keys where !members.contains(where: { $0.name == key }) { members.append(.init(key, .null)) }
            let reply = try await client.send(.patch, "/api/v1/apps/\(name)/config", body: .object(members))
            try await client.report(
                reply, "Unsetting \(keys.joined(separator: ", ")) and restarting \(name)", waits: wait.waits,
                json: output.isJSON)
        }
    }
}
