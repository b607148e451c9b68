import ArgumentParser
import Domain

struct Apps: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "List, make and delete apps.", subcommands: [List.self, Create.self, Info.self, Delete.self],
        defaultSubcommand: List.self)

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "List the apps that you may see.")
        @OptionGroup var connection: ConnectionOptions
        @OptionGroup var output: JSONOption

        func run() async throws {
            let apps = try await connection.session().client().list("/api/v1/apps")
            if output.isJSON { return Console.print(json: .array(apps)) }
            if apps.isEmpty { return Console.note("No apps yet; make one with: paasctl apps create NAME") }
            Console.table(
                ["NAME", "SPACE", "STACK", "RELEASE", "UPDATED"],
                apps.map { app in
                    [
                        app.text("name"), app.text("space"), app.text("stack"),
                        app["currentRelease"]?.integerValue.map { "v\($0)" } ?? "-", app.text("updatedAt"),
                    ]
                })
        }
    }

    struct Create: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Make an app; in a git checkout also add the remote 'paas'.")
        @Argument var name: String
        @Option(help: "The space. Default: your only one, else 'default'.") var space: String?
        @Option(help: "The stack, as 'paasctl stacks' lists them.") var stack: String?
        @Flag(help: "Give the process type web no port binding by itself.") var noPorts = false
        @Flag(help: "Let the remote lead over SSH, with a key of 'paasctl keys', instead of HTTP.") var ssh = false
        @OptionGroup var connection: ConnectionOptions
        @OptionGroup var output: JSONOption

        func run() async throws {
            let session = try connection.session()
            var members: [JSONValue.Member] = []
            if let space { members.append(.init("space", .string(space))) }
            if let stack { members.append(.init("stack", .string(stack))) }
            if noPorts { members.append(.init("noPorts", .bool(true))) }
            let reply = try await session.client().send(
                .put, "/api/v1/apps/\(URLText.encode(name))", body: .object(members))
            Console.note(reply.status == 201 ? "Creating \(name)... done" : "App \(name) is there already.")
            if output.isJSON {
                Console.print(json: reply.json)
            } else {
                Console.print("\(session.api)/git/\(name).git")
            }
            // The app is there: what goes wrong from here on is worth a word, not a failure.
            do {
                if try GitTool.isInWorkTree() {
                    let base = ssh ? try await SSHRemote.base(session) : nil
                    try GitTool.connect(app: name, session: session, ssh: base, replace: false)
                }
            } catch let error as Failure {
                Console.note(
                    "No git remote was added: \(error.message) Later: paasctl git remote \(name)\(ssh ? " --ssh" : "")")
            }
        }
    }

    struct Info: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Show one app.")
        @OptionGroup var app: AppOption
        @OptionGroup var connection: ConnectionOptions
        @OptionGroup var output: JSONOption

        func run() async throws {
            let name = try app.name()
            let session = try connection.session()
            let json = try await session.client().get("/api/v1/apps/\(name)")
            if output.isJSON { return Console.print(json: json) }
            Console.print("=== \(name)")
            Console.fields([
                ("Space", json.text("space")), ("Stack", json.text("stack")),
                ("Deploy branch", json["deployBranch"]?.stringValue ?? "main or master, whichever is pushed first"),
                (
                    "Buildpacks",
                    json["buildpacks"]?.arrayValue?.compactMap(\.stringValue).joined(separator: " ").nonEmpty
                        ?? "found by the files of the source"
                ),
                ("Current release", json["currentRelease"]?.integerValue.map { "v\($0)" } ?? "none"),
                ("Git URL", "\(session.api)/git/\(name).git"), ("Web URL", json.text("webUrl")),
                ("Created", json.text("createdAt")), ("Updated", json.text("updatedAt")),
            ])
        }
    }

    struct Delete: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Stop an app and remove everything of it.")
        @Argument var name: String
        @Option(help: "The app's name once more.") var confirm: String?
        @OptionGroup var wait: WaitOption
        @OptionGroup var connection: ConnectionOptions
        @OptionGroup var output: JSONOption

        func run() async throws {
            guard confirm == name else {
                throw ValidationError(
                    "this removes \(name) with its releases, config and logs; to do it, add --confirm \(name)")
            }
            let client = try connection.session().client()
            let reply = try await client.send(.delete, "/api/v1/apps/\(URLText.encode(name))")
            try await client.report(reply, "Deleting \(name)", waits: wait.waits, json: output.isJSON)
        }
    }
}

extension String {
    fileprivate var nonEmpty: String? { isEmpty ? nil : self }
}

extension JSONValue {
    /// A member for a cell of a table; `-` for none.
    func text(_ name: String) -> String {
        switch self[name] {
        case .string(let text): text.isEmpty ? "-" : text
        case .integer(let number): String(number)
        case .number(let number): String(number)
        case .bool(let flag): flag ? "yes" : "no"
        default: "-"
        }
    }
}

extension Console {
    /// Names and values, one pair a line; pairs with the value `-` are left out.
    static func fields(_ pairs: [(String, String)]) {
        let width = pairs.map(\.0.count).max() ?? 0
        for (name, value) in pairs where value != "-" {
            print(safe("\(name):\(String(repeating: " ", count: width - name.count + 1))\(value)"))
        }
    }
}
