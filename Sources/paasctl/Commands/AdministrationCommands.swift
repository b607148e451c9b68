import ArgumentParser
import Domain

struct Spaces: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "List and make spaces.", subcommands: [List.self, Create.self], defaultSubcommand: List.self)

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "List the spaces that you may see.")
        @OptionGroup var connection: ConnectionOptions
        @OptionGroup var output: JSONOption

        func run() async throws {
            let spaces = try await connection.session().client().list("/api/v1/spaces")
            if output.isJSON { return Console.print(json: .array(spaces)) }
            Console.table(["NAME", "CREATED"], spaces.map { [$0.text("name"), $0.text("createdAt")] })
        }
    }

    struct Create: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Make a space.")
        @Argument var name: String
        @OptionGroup var connection: ConnectionOptions
        @OptionGroup var output: JSONOption

        func run() async throws {
            let reply = try await connection.session().client().send(
                .put, "/api/v1/spaces/\(URLText.encode(name))", body: .object([]))
            if output.isJSON { return Console.print(json: reply.json) }
            Console.note(reply.status == 201 ? "Creating space \(name)... done" : "Space \(name) is there already.")
        }
    }
}

struct Tokens: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "List, make and revoke tokens.", subcommands: [List.self, Create.self, Revoke.self],
        defaultSubcommand: List.self)

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "List tokens (never the secrets).")
        @OptionGroup var connection: ConnectionOptions
        @OptionGroup var output: JSONOption

        func run() async throws {
            let tokens = try await connection.session().client().list("/api/v1/tokens")
            if output.isJSON { return Console.print(json: .array(tokens)) }
            Console.table(
                ["ID", "ROLE", "SPACE", "CREATED", "EXPIRES", "REVOKED"],
                tokens.map {
                    [
                        $0.text("id"), $0.text("role"), $0.text("space"), $0.text("createdAt"), $0.text("expiresAt"),
                        $0.text("revokedAt"),
                    ]
                })
        }
    }

    struct Create: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Make a token and print it: it is shown this once.")
        @Option(help: "admin, operator, developer, vnfm or viewer.") var role: String
        @Option(help: "The only space it may see. Default: all.") var space: String?
        @Option(help: "A duration (90d, 12h, 30m) or a time (2030-01-31T00:00:00Z). Default: never.") var expires:
            String?
        @OptionGroup var connection: ConnectionOptions
        @OptionGroup var output: JSONOption

        func run() async throws {
            guard Role(rawValue: role) != nil else {
                let known = Role.allCases.map(\.rawValue).joined(separator: ", ")
                throw ValidationError("'\(role)' is no role; give one of \(known)")
            }
            var members: [JSONValue.Member] = [.init("role", .string(role))]
            if let space { members.append(.init("space", .string(space))) }
            if let expires {
                members.append(.init("expiresAt", .string(try Self.time(expires, now: Timestamp.now()).description)))
            }
            let reply = try await connection.session().client().send(.post, "/api/v1/tokens", body: .object(members))
            if output.isJSON { return Console.print(json: reply.json) }
            Console.note("Token \(reply.json.text("id")) made; keep it, it is not shown again:")
            Console.print(reply.json.text("token"))
        }

        private static let maximumSeconds: Double = 36_525 * 86_400

        static func time(_ text: String, now: Timestamp) throws -> Timestamp {
            if let time = Timestamp(text) { return time }
            let units: [Character: Double] = ["d": 86_400, "h": 3600, "m": 60, "s": 1]
            guard let unit = text.last.flatMap({ units[$0] }), let count = UInt32(text.dropLast()), count > 0 else {
                throw ValidationError("'\(text)' is no duration and no time; give 90d, 12h or 2030-01-31T00:00:00Z")
            }
            let seconds = Double(count) * unit
            guard seconds <= maximumSeconds else {
                throw ValidationError("'\(text)' is more than 100 years; leave out --expires for a token without end")
            }
            return now.adding(seconds: seconds)
        }
    }

    struct Revoke: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Make a token worthless.")
        @Argument(help: "As 'paasctl tokens' lists it.") var id: String
        @OptionGroup var connection: ConnectionOptions

        func run() async throws {
            _ = try await connection.session().client().send(.delete, "/api/v1/tokens/\(URLText.encode(id))")
            Console.note("Revoking token \(id)... done")
        }
    }
}
