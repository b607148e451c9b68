import ArgumentParser
import Domain

struct Logs: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Print log lines of an app.")
    @Option(name: [.customShort("n"), .customLong("num")], help: "How many lines from the end.") var number = 100
    @Flag(name: [.customShort("f"), .long], help: "Go on with new lines as they come.") var follow = false
    @Option(name: [.short, .long], help: "Of one process (web.1) or type (web).") var process: String?
    @Option(name: [.short, .long], help: "app, router, platform or build.") var source: String?
    @OptionGroup var app: AppOption
    @OptionGroup var connection: ConnectionOptions
    @OptionGroup var output: JSONOption

    func run() async throws {
        guard number >= 0 else { throw ValidationError("-n must not be negative") }
        if let source, LogLine.Source(rawValue: source) == nil {
            throw ValidationError("'\(source)' is no source; give app, router, platform or build")
        }
        let path = "/api/v1/apps/\(try app.name())/logs"
        var query = [("tail", "\(number)")]
        if let process { query.append(("process", process)) }
        if let source { query.append(("source", source)) }
        let client = try connection.session().client()
        if follow {
            return try await Follower(client: client, path: path, query: query + [("follow", "1")]).run { show($0) }
        }
        try await client.lines(path, query: query) { line in
            if line.isEmpty { return }
            show(try JSONParser.parse(Array(line.utf8)))
        }
    }

    private func show(_ line: JSONValue) {
        if output.isJSON { return Console.print(jsonLine: line) }
        let process = line.text("process")
        Console.print(
            Console.safe("\(line.text("time")) \(line.text("source"))[\(process)]: \(line["text"]?.stringValue ?? "")"))
    }
}

struct Events: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Print what happened, newest last.")
    @Flag(name: [.customShort("f"), .long], help: "Go on with new events as they happen.") var follow = false
    @Option(name: [.customShort("n"), .customLong("num")], help: "How many from the end.") var number = 20
    @Option(name: [.customShort("a"), .customLong("app")], help: "Of one app only.") var app: String?
    @OptionGroup var connection: ConnectionOptions
    @OptionGroup var output: JSONOption

    func run() async throws {
        if let app { try Usage.check { () throws(PaaSError) in try Names.validate(app, "app") } }
        let client = try connection.session().client()
        let filter = app.map { [("app", $0)] } ?? []
        var last: Int64?
        if number > 0 {
            let events = try await client.get("/api/v1/events", query: filter + [("tail", "\(number)")])
            last = events.arrayValue?.last?["id"]?.integerValue
            if output.isJSON, !follow { return Console.print(json: events) }
            for event in events.arrayValue ?? [] { show(event) }
        }
        guard follow else { return }
        let after = last.map { [("after", "\($0)")] } ?? []
        try await Follower(client: client, path: "/api/v1/events", query: filter + after).run { show($0) }
    }

    private func show(_ event: JSONValue) {
        if output.isJSON { return Console.print(jsonLine: event) }
        var line = "\(event.text("time")) \(event.text("kind"))"
        if let app = event["app"]?.stringValue { line += " app=\(app)" }
        for member in event["data"]?.members ?? [] { line += " \(member.name)=\(member.value.stringValue ?? "")" }
        if let actor = event["actor"]?.stringValue { line += " by=\(actor)" }
        Console.print(Console.safe(line))
    }
}
