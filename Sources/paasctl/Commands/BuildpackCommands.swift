import ArgumentParser
import Domain

struct Buildpacks: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Show and set what builds an app.",
        subcommands: [List.self, Set.self, Clear.self, Available.self], defaultSubcommand: List.self)

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "List the buildpacks of an app, in their order.")
        @OptionGroup var app: AppOption
        @OptionGroup var connection: ConnectionOptions
        @OptionGroup var output: JSONOption

        func run() async throws {
            let name = try app.name()
            let json = try await connection.session().client().get("/api/v1/apps/\(name)")
            Buildpacks.show(json["buildpacks"] ?? .array([]), of: name, json: output.isJSON)
        }
    }

    struct Set: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Name the buildpacks that build an app, in their order; from the next build on.",
            discussion:
                "Each is a name (python; see 'paasctl buildpacks available'), or an address: of a git repository, with #REF for a branch, tag or commit, or of a tar archive."
        )
        @Argument(help: "Names and addresses.") var buildpacks: [String]
        @OptionGroup var app: AppOption
        @OptionGroup var connection: ConnectionOptions
        @OptionGroup var output: JSONOption

        func run() async throws {
            guard buildpacks.count <= Limits.buildpacks else {
                throw ValidationError("an app can have at most \(Limits.buildpacks) buildpacks")
            }
            for buildpack in buildpacks {
                try Usage.check { () throws(PaaSError) in try BuildpackReference.validate(buildpack) }
            }
            try await Buildpacks.change(buildpacks, app, connection, output)
        }
    }

    struct Clear: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Have the buildpacks of an app found by its files again; from the next build on.")
        @OptionGroup var app: AppOption
        @OptionGroup var connection: ConnectionOptions
        @OptionGroup var output: JSONOption

        func run() async throws { try await Buildpacks.change([], app, connection, output) }
    }

    struct Available: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "List the platform's own buildpacks.")
        @OptionGroup var connection: ConnectionOptions
        @OptionGroup var output: JSONOption

        func run() async throws {
            let all = try await connection.session().client().list("/api/v1/buildpacks")
            if output.isJSON { return Console.print(json: .array(all)) }
            Console.table(["NAME", "LOOKS FOR"], all.map { [$0.text("name"), $0.text("looksFor")] })
        }
    }

    private static func change(
        _ buildpacks: [String], _ app: AppOption, _ connection: ConnectionOptions, _ output: JSONOption
    ) async throws {
        let name = try app.name()
        let body = JSONValue.object([.init("buildpacks", .array(buildpacks.map { .string($0) }))])
        let json = try await connection.session().client().send(.patch, "/api/v1/apps/\(name)", body: body).json
        show(json["buildpacks"] ?? .array([]), of: name, json: output.isJSON)
    }

    private static func show(_ list: JSONValue, of app: String, json: Bool) {
        if json { return Console.print(json: list) }
        let names = (list.arrayValue ?? []).map { $0.stringValue ?? "?" }
        if names.isEmpty {
            return Console.note(
                "\(app) has no buildpacks set: the next build finds them by the files at the root of the source.")
        }
        for name in names { Console.print(Console.safe(name)) }
    }
}
