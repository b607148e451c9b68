import ArgumentParser
import Domain

struct Releases: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "List releases.", subcommands: [List.self, Info.self, Output.self], defaultSubcommand: List.self)

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "List the newest releases of an app.")
        @Option(name: .shortAndLong, help: "How many.") var number = 15
        @OptionGroup var app: AppOption
        @OptionGroup var connection: ConnectionOptions
        @OptionGroup var output: JSONOption

        func run() async throws {
            let name = try app.name()
            let client = try connection.session().client()
            let releases = try await client.get("/api/v1/apps/\(name)/releases", query: [("limit", "\(number)")])
            if output.isJSON { return Console.print(json: releases) }
            let items = releases.arrayValue ?? []
            if items.isEmpty { return Console.note("No releases yet; make one with: git push paas main") }
            let current =
                items.first { $0.text("state") == "current" }.map { " - Current: v\($0.text("version"))" } ?? ""
            Console.print("=== \(name) Releases\(current)")
            Console.table(
                ["VERSION", "STATE", "DESCRIPTION", "BY", "CREATED"],
                items.map {
                    [
                        "v" + $0.text("version"), $0.text("state") + (Releases.isGone($0) ? " (slug removed)" : ""),
                        $0.text("description"), $0.text("createdBy"),
                        $0.text("createdAt"),
                    ]
                })
        }
    }

    struct Info: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Show one release.")
        @Argument(help: "As in v3.") var version: String
        @OptionGroup var app: AppOption
        @OptionGroup var connection: ConnectionOptions
        @OptionGroup var output: JSONOption

        func run() async throws {
            let number = try Releases.number(version)
            let name = try app.name()
            let json = try await connection.session().client().get("/api/v1/apps/\(name)/releases/\(number)")
            if output.isJSON { return Console.print(json: json) }
            Console.print("=== \(name) v\(number)")
            Console.fields([
                ("State", json.text("state")), ("Description", json.text("description")),
                ("Commit", json.text("commit")),
                ("Slug", json.text("slug") + (Releases.isGone(json) ? " (removed: no longer kept)" : "")),
                ("Config", "version \(json.text("configVersion"))"),
                ("By", json.text("createdBy")), ("Created", json.text("createdAt")),
            ])
            for type in json["processTypes"]?.members ?? [] {
                Console.print(Console.safe("  \(type.name): \(type.value.stringValue ?? "?")"))
            }
            for run in json["runs"]?.arrayValue ?? [] { Console.print(Console.safe(Self.line(run))) }
            if let text = json["output"]?.stringValue, !text.isEmpty {
                Console.print("")
                Releases.print(lines: text)
            }
        }

        /// `release.7: failed, exit code 1, release.7 exited with status 1`
        static func line(_ run: JSONValue) -> String {
            var line = "  \(run.text("name")): \(run.text("state"))"
            if let code = run["exitCode"]?.integerValue { line += ", exit code \(code)" }
            if let reason = run["reason"]?.stringValue { line += ", \(reason)" }
            return line
        }
    }

    struct Output: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Print what the release phase of a release wrote, or its postdeploy script.")
        @Argument(help: "As in v3.") var version: String
        @Flag(help: "Of the postdeploy script.") var postdeploy = false
        @OptionGroup var app: AppOption
        @OptionGroup var connection: ConnectionOptions
        @OptionGroup var output: JSONOption

        func run() async throws {
            let number = try Releases.number(version)
            let name = try app.name()
            let json = try await connection.session().client().get("/api/v1/apps/\(name)/releases/\(number)")
            let kind = postdeploy ? "postdeploy" : "release"
            guard let run = json["runs"]?.arrayValue?.first(where: { $0.text("kind") == kind }) else {
                let what = postdeploy ? "postdeploy script" : "release phase"
                throw Failure("v\(number) of \(name) has no \(what); see: paasctl releases info v\(number) -a \(name)")
            }
            if output.isJSON { return Console.print(json: run) }
            guard let text = run["output"]?.stringValue else {
                return Console.note(
                    "\(run.text("name")) is \(run.text("state")); its lines so far: paasctl logs -p \(run.text("name")) -a \(name)"
                )
            }
            if !text.isEmpty { Releases.print(lines: text) }
            Console.note(Info.line(run))
        }
    }

    private static func print(lines text: String) {
        for line in text.split(separator: "\n", omittingEmptySubsequences: false) {
            Console.print(Console.safe(String(line)))
        }
    }

    /// Whether a release can't be rolled back to any more.
    static func isGone(_ release: JSONValue) -> Bool { release["slugRemoved"] == .bool(true) }

    /// `v3` and `3`.
    static func number(_ text: String) throws -> Int {
        guard let number = Int(text.hasPrefix("v") ? text.dropFirst() : text[...]), number > 0 else {
            throw ValidationError("'\(text)' is no release; give it as v3")
        }
        return number
    }
}

struct Promote: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Release what an app runs now on another app, without building it again.",
        discussion: "The other app keeps its own config; the slug is the same to the byte.")
    @Option(help: "The app that gets the release.") var to: String
    @OptionGroup var wait: WaitOption
    @OptionGroup var app: AppOption
    @OptionGroup var connection: ConnectionOptions
    @OptionGroup var output: JSONOption

    func run() async throws {
        try Usage.check { () throws(PaaSError) in try Names.validate(to, "app") }
        let source = try app.name()
        guard source != to else { throw ValidationError("\(to) can't be promoted to itself; see: paasctl rollback") }
        let client = try connection.session().client()
        let reply = try await client.send(
            .post, "/api/v1/apps/\(to)/releases", body: .object([.init("promoteFrom", .string(source))]))
        try await client.report(reply, "Promoting \(source) to \(to)", waits: wait.waits, json: output.isJSON)
    }
}

struct Rollback: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Make a new release with the slug and the config of an earlier one.")
    @Argument(help: "As in v3. Default: the last one that was current before this one.") var version: String?
    @OptionGroup var wait: WaitOption
    @OptionGroup var app: AppOption
    @OptionGroup var connection: ConnectionOptions
    @OptionGroup var output: JSONOption

    func run() async throws {
        let number = try version.map { try Releases.number($0) }
        let name = try app.name()
        let client = try connection.session().client()
        let reply = try await client.send(
            .post, "/api/v1/apps/\(name)/releases", body: .object([.init("rollback", .integer(number))]))
        let what = "Rolling \(name) back to \(number.map { "v\($0)" } ?? "the release before")"
        try await client.report(reply, what, waits: wait.waits, json: output.isJSON)
    }
}
