import ArgumentParser
import Domain

struct Scale: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Show or change how many processes run.",
        discussion: "As in: paasctl scale web=3 worker=+1. Without arguments it prints the formation.")
    @Argument(help: "TYPE=COUNT, TYPE=+N or TYPE=-N") var changes: [String] = []
    @OptionGroup var wait: WaitOption
    @OptionGroup var app: AppOption
    @OptionGroup var connection: ConnectionOptions
    @OptionGroup var output: JSONOption

    struct Change {
        var type: String
        var count: Int
        var isRelative: Bool
    }

    func run() async throws {
        let parsed = try changes.map(Self.parse)
        let path = "/api/v1/apps/\(try app.name())/formation"
        let client = try connection.session().client()
        guard !parsed.isEmpty else { return show(try await client.get(path)) }
        let reply = try await apply(parsed, path, client)
        let what = "Scaling \(changes.joined(separator: ", "))"
        try await client.report(reply, what, waits: wait.waits, json: output.isJSON)
    }

    static func parse(_ text: String) throws -> Change {
        let wrong = ValidationError("'\(text)' is not TYPE=COUNT, TYPE=+N or TYPE=-N, as in web=3")
        let pair = text.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
        guard pair.count == 2, !pair[0].isEmpty, let count = Int(pair[1]) else { throw wrong }
        let most = FormationEntry.maximumQuantity
        guard (-most...most).contains(count) else {
            throw ValidationError("'\(text)': a process type has at most \(most) processes")
        }
        return Change(type: String(pair[0]), count: count, isRelative: pair[1].hasPrefix("+") || pair[1].hasPrefix("-"))
    }

    private func apply(_ changes: [Change], _ path: String, _ client: APIClient) async throws -> APIClient.Reply {
        guard changes.contains(where: \.isRelative) else {
            let body = JSONValue.object(changes.map { .init($0.type, .integer(Int64($0.count))) })
            return try await client.send(.patch, path, body: body)
        }
        // Counts are absolute in the API: relative ones hold only for the formation that they were worked out from.
        for attempt in 1... {
            let present = try await client.send(.get, path)
            var members: [JSONValue.Member] = []
            for change in changes {
                let now = Int(present.json[change.type]?["quantity"]?.integerValue ?? 0)
                let count = change.isRelative ? now + change.count : change.count
                guard count >= 0 else { throw Failure("\(change.type) has only \(now) processes") }
                members.append(.init(change.type, .integer(Int64(count))))
            }
            let headers = present.entityTag.map { [("If-Match", $0)] } ?? []
            do {
                return try await client.send(.patch, path, body: .object(members), headers: headers)
            } catch let failure as Failure where failure.status == 412 && attempt < 5 {
                continue
            }
        }
        throw Failure("the formation keeps changing; try again")
    }

    private func show(_ formation: JSONValue) {
        if output.isJSON { return Console.print(json: formation) }
        let types = formation.members ?? []
        if types.isEmpty { return Console.note("No process types yet; they come with the first release.") }
        Console.table(
            ["TYPE", "QUANTITY", "MEMORY", "CPU", "QOS"],
            types.map {
                [
                    $0.name, $0.value.text("quantity"), $0.value.text("memory"), $0.value.text("cpu"),
                    $0.value.text("qos"),
                ]
            })
    }
}

struct Processes: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "ps", abstract: "List and restart processes.", subcommands: [List.self, Restart.self],
        defaultSubcommand: List.self)

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "List the processes of an app.")
        @OptionGroup var app: AppOption
        @OptionGroup var connection: ConnectionOptions
        @OptionGroup var output: JSONOption

        func run() async throws {
            let name = try app.name()
            let client = try connection.session().client()
            let processes = try await client.list("/api/v1/apps/\(name)/processes")
            if output.isJSON { return Console.print(json: .array(processes)) }
            if processes.isEmpty {
                return Console.note("No processes; start some with: paasctl scale TYPE=1 -a \(name)")
            }
            var commands: JSONValue = .null
            if let version = try await client.get("/api/v1/apps/\(name)")["currentRelease"]?.integerValue {
                commands = try await client.get("/api/v1/apps/\(name)/releases/\(version)")["processTypes"] ?? .null
            }
            var types: [String] = []
            for type in processes.map({ $0.text("type") }) where !types.contains(type) { types.append(type) }
            let now = Timestamp.now()
            for (index, type) in types.enumerated() {
                if index > 0 { Console.print("") }
                let members = processes.filter { $0.text("type") == type }
                Console.print(Console.safe("=== \(type): \(commands[type]?.stringValue ?? "?") (\(members.count))"))
                for process in members { Console.print(Console.safe(Self.line(process, now: now))) }
            }
        }

        static func line(_ process: JSONValue, now: Timestamp) -> String {
            var line = "\(process.text("name")): \(process.text("state")) v\(process.text("release"))"
            if let since = process["since"]?.stringValue.flatMap({ Timestamp($0) }) {
                line += " " + Age.text(since, now: now)
            }
            if let restarts = process["restarts"]?.integerValue, restarts > 0 { line += ", \(restarts) restarts" }
            if let code = process["exitCode"]?.integerValue { line += ", exit code \(code)" }
            if let reason = process["reason"]?.stringValue { line += ", \(reason)" }
            return line
        }
    }

    struct Restart: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Replace all processes, those of a type, or one; new ones are up before old ones leave.")
        @Argument(help: "A type (web) or a name (web.1). Default: all.") var name: String?
        @OptionGroup var wait: WaitOption
        @OptionGroup var app: AppOption
        @OptionGroup var connection: ConnectionOptions
        @OptionGroup var output: JSONOption

        func run() async throws {
            let client = try connection.session().client()
            var path = "/api/v1/apps/\(try app.name())/processes"
            if let name { path += "/\(URLText.encode(name))" }
            let reply = try await client.send(.delete, path)
            try await client.report(
                reply, "Restarting \(name ?? "all processes")", waits: wait.waits, json: output.isJSON)
        }
    }
}

/// Points in time for people: `2026/01/02 15:04:05 +0000 (~ 5m ago)`.
enum Age {
    static func text(_ time: Timestamp, now: Timestamp) -> String {
        let full = time.description
        let date = full.prefix(10).split(separator: "-").joined(separator: "/")
        let clock = full.dropFirst(11).prefix(8)
        let seconds = Int(now.seconds(since: time))
        guard seconds >= 0, seconds < 25 * 3600 else { return "\(date) \(clock) +0000" }
        let age = seconds < 60 ? "\(seconds)s" : seconds < 3600 ? "\(seconds / 60)m" : "\(seconds / 3600)h"
        return "\(date) \(clock) +0000 (~ \(age) ago)"
    }
}
