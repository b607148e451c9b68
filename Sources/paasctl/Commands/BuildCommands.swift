import ArgumentParser
import Domain

struct Builds: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "List, start, follow and cancel builds.",
        subcommands: [List.self, Create.self, Log.self, Cancel.self, PurgeCache.self], defaultSubcommand: List.self)

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "List the newest builds of an app.")
        @Option(name: .shortAndLong, help: "How many.") var number = 15
        @OptionGroup var app: AppOption
        @OptionGroup var connection: ConnectionOptions
        @OptionGroup var output: JSONOption

        func run() async throws {
            let path = "/api/v1/apps/\(try app.name())/builds"
            let builds = try await connection.session().client().get(path, query: [("limit", "\(number)")])
            if output.isJSON { return Console.print(json: builds) }
            let items = builds.arrayValue ?? []
            if items.isEmpty { return Console.note("No builds yet; make one with: git push paas main") }
            Console.table(
                ["BUILD", "STATE", "COMMIT", "RELEASE", "STARTED", "ERROR"],
                items.map { build in
                    [
                        build.text("number"), build.text("state"),
                        String((build["source"]?["commit"]?.stringValue ?? "-").prefix(10)),
                        build["release"]?.integerValue.map { "v\($0)" } ?? "-", build.text("startedAt"),
                        build["error"]?["detail"]?.stringValue ?? "-",
                    ]
                })
        }
    }

    struct Create: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Build without a push; follows the build's log on standard error.")
        @Option(help: "A tar.gz of the source.") var tar: String?
        @Option(help: "URL of a git repository.") var git: String?
        @Option(help: "With --git: what to build of it.") var ref: String?
        @Option(help: "A commit that was pushed before.") var commit: String?
        @Flag(help: "Return at once.") var noWait = false
        @OptionGroup var app: AppOption
        @OptionGroup var connection: ConnectionOptions
        @OptionGroup var output: JSONOption

        func run() async throws {
            guard [tar, git, commit].compactMap({ $0 }).count == 1 else {
                throw ValidationError("give exactly one of --tar, --git and --commit")
            }
            guard ref == nil || git != nil else { throw ValidationError("--ref belongs to --git") }
            if tar != nil {
                throw Failure("builds from an archive are not offered by this platform yet; push the source with git")
            }
            let name = try app.name()
            let source: JSONValue
            if let git {
                source = .object([.init("git", .object([.init("url", .string(git)), .init("ref", .text(ref))]))])
            } else {
                source = .object([.init("commit", .text(commit))])
            }
            let client = try connection.session().client()
            let reply = try await client.send(
                .post, "/api/v1/apps/\(name)/builds", body: .object([.init("source", source)]))
            guard let target = reply.json["target"]?.stringValue, target.hasPrefix("/api/v1/") else {
                throw Failure("the API gave no build to follow")
            }
            if !noWait {
                try await Builds.follow(client, target) { Console.note($0["text"]?.stringValue ?? "") }
                _ = try await client.wait(reply.json, what: "Building \(name)")
            }
            let build = try await client.get(target)
            if output.isJSON { Console.print(json: build) }
            Console.note("Build \(build.text("number")): \(build.text("state"))")
            if !output.isJSON { Console.print(build.text("number")) }
            if !noWait, let version = build["release"]?.integerValue {
                try await client.waitForRelease(version, of: name)
            }
        }
    }

    /// The lines of a build's log, until the build and its rollout are decided.
    static func follow(_ client: APIClient, _ build: String, _ each: (JSONValue) -> Void) async throws {
        try await Follower(client: client, path: build + "/log", query: [("follow", "1")]).run { each($0) }
    }

    struct Log: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Print the log of a build.")
        @Argument(help: "Number or id.") var id: String
        @Flag(name: [.customShort("f"), .long], help: "Go on until the build and its rollout are decided.")
        var follow = false
        @OptionGroup var app: AppOption
        @OptionGroup var connection: ConnectionOptions
        @OptionGroup var output: JSONOption

        func run() async throws {
            let build = "/api/v1/apps/\(try app.name())/builds/\(URLText.encode(id))"
            let client = try connection.session().client()
            if follow { return try await Builds.follow(client, build) { show($0) } }
            let headers = [("Accept", "application/x-ndjson")]
            try await client.lines(build + "/log", headers: headers) { line in
                if !line.isEmpty { show(try JSONParser.parse(Array(line.utf8))) }
            }
        }

        private func show(_ line: JSONValue) {
            if output.isJSON { return Console.print(jsonLine: line) }
            Console.print(Console.safe(line["text"]?.stringValue ?? ""))
        }
    }

    struct Cancel: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Cancel a build.")
        @Argument(help: "Number or id.") var id: String
        @OptionGroup var app: AppOption
        @OptionGroup var connection: ConnectionOptions
        @OptionGroup var output: JSONOption

        func run() async throws {
            let path = "/api/v1/apps/\(try app.name())/builds/\(URLText.encode(id))/cancel"
            let reply = try await connection.session().client().send(.post, path)
            if output.isJSON { return Console.print(json: reply.json) }
            Console.note("Cancelling build \(reply.json.text("number"))... accepted")
        }
    }

    struct PurgeCache: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Let the next build start without a cache.")
        @OptionGroup var app: AppOption
        @OptionGroup var connection: ConnectionOptions

        func run() async throws {
            let name = try app.name()
            _ = try await connection.session().client().send(.delete, "/api/v1/apps/\(name)/build-cache")
            Console.note("Purging the build cache of \(name)... done")
        }
    }
}
