import Domain

/// Server-sent events, followed across lost connections: after each one it goes on behind the last that came.
struct Follower {
    /// How long the API may be away before following ends.
    static let patienceSeconds = 120

    var client: APIClient
    var path: String
    var query: [(String, String)]

    private struct StreamEnd: Error {}

    struct Item {
        var id: String?
        var event: String?
        var data: String
    }

    /// Returns when the server ends the stream with an event `end`.
    func run(_ each: (JSONValue) async throws -> Void) async throws {
        var lastID: String?
        var attempts = 0
        while true {
            var headers = [("Accept", "text/event-stream")]
            if let lastID { headers.append(("Last-Event-ID", lastID)) }
            var item = Item(data: "")
            do {
                try await client.lines(
                    path, query: lastID == nil ? query : query.filter { $0.0 != "tail" }, headers: headers
                ) {
                    line in
                    attempts = 0
                    if line.isEmpty {
                        if !item.data.isEmpty {
                            let json = try JSONParser.parse(Array(item.data.utf8))
                            if item.event == "error", let problem = json["error"] {
                                throw Failure(problem["detail"]?.stringValue ?? "the stream ended with an error")
                            }
                            if item.event == "end" { throw StreamEnd() }
                            try await each(json)
                        }
                        // An id without data tells where the stream begins.
                        if let id = item.id { lastID = id }
                        item = Item(data: "")
                        return
                    }
                    guard let colon = line.firstIndex(of: ":") else { return }
                    let value = line[line.index(after: colon)...].drop { $0 == " " }
                    switch line[..<colon] {
                    case "id": item.id = String(value)
                    case "event": item.event = String(value)
                    case "data": item.data += item.data.isEmpty ? String(value) : "\n" + value
                    default: break
                    }
                }
                throw ConnectionLost(reason: "the API ended the stream")
            } catch is StreamEnd {
                return
            } catch let lost as ConnectionLost {
                attempts += 1
                if attempts == 2 { Console.note("paasctl: \(lost.reason); trying again") }
                guard attempts <= Self.patienceSeconds else { throw lost }
                try await Task.sleep(for: .seconds(1))
            } catch let failure as Failure where failure.status == 503 {
                attempts += 1
                if attempts == 2 { Console.note("paasctl: \(failure.message); trying again") }
                guard attempts <= Self.patienceSeconds else { throw failure }
                try await Task.sleep(for: .seconds(1))
            }
        }
    }
}
