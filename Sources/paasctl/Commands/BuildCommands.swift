import ArgumentParser
import Domain

struct Builds: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "List, start, follow and cancel builds.",
        subcommands: [List.self, BuildsCreate.self, Log.self, Cancel.self, PurgeCache.self],
        defaultSubcommand: List.self)

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
            let now = Timestamp.now()
            Console.table(
                ["BUILD", "STATE", "SOURCE", "COMMIT", "RELEASE", "STARTED", "TOOK", "ERROR"],
                items.map { build in
                    let error = build["error"]?["detail"]?.stringValue?.split(whereSeparator: \.isNewline).first
                    return [
                        build.text("number"), Self.state(build), build["source"]?.text("kind") ?? "-",
                        String((build["source"]?["commit"]?.stringValue ?? "-").prefix(10)),
                        build["release"]?.integerValue.map { "v\($0)" } ?? "-", build.text("startedAt"),
                        Self.duration(build, now: now), error.map(String.init) ?? "-",
                    ]
                })
        }

        /// With the place in the queue of one that waits.
        static func state(_ build: JSONValue) -> String {
            guard let others = build["waitsFor"]?.integerValue, others > 0 else { return build.text("state") }
            return "\(build.text("state")), \(others) before it"
        }

        /// Of one that runs: until now.
        static func duration(_ build: JSONValue, now: Timestamp) -> String {
            guard let start = build["startedAt"]?.stringValue.flatMap({ Timestamp($0) }) else { return "-" }
            let end = build["finishedAt"]?.stringValue.flatMap { Timestamp($0) } ?? now
            let seconds = max(0, Int(end.seconds(since: start).rounded()))
            return seconds < 60 ? "\(seconds) s" : "\(seconds / 60) min \(seconds % 60) s"
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
        private static let patience = Duration.seconds(10)
        @Argument(help: "Number or id.") var id: String
        @OptionGroup var app: AppOption
        @OptionGroup var connection: ConnectionOptions
        @OptionGroup var output: JSONOption

        func run() async throws {
            let path = "/api/v1/apps/\(try app.name())/builds/\(URLText.encode(id))"
            let client = try connection.session().client()
            var build = try await client.send(.post, path + "/cancel").json
            // Its end is near: what the user does next finds it over.
            let clock = ContinuousClock()
            let start = clock.now
            while ["queued", "running"].contains(build.text("state")), clock.now - start < Self.patience {
                try await Task.sleep(for: .milliseconds(100))
                build = try await client.patientGet(path, after: "the build is being cancelled; see: paasctl builds")
            }
            if output.isJSON { return Console.print(json: build) }
            let number = build.text("number")
            switch build.text("state") {
            case "cancelled": Console.note("Cancelling build \(number)... done")
            case "queued", "running": Console.note("Cancelling build \(number)... accepted; see: paasctl builds")
            case let state: throw Failure("build \(number) had ended before it was cancelled (\(state))")
            }
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
