import ArgumentParser
import Domain

/// For commands that begin long work.
struct WaitOption: ParsableArguments {
    @Flag(name: .customLong("wait"), help: "Wait until it is done; fail if it fails.")
    var waits = false
}

extension APIClient {
    /// Waits for an operation and shows its progress on standard error.
    /// - Throws: `Failure` with the operation's own error.
    func wait(_ operation: JSONValue, what: String) async throws -> JSONValue {
        var current = operation
        var shown = ""
        while true {
            let state = current["state"]?.stringValue ?? "?"
            if ["completed", "failed", "rolledBack", "cancelled"].contains(state) {
                if !shown.isEmpty, Console.errorIsTerminal { Console.note("") }
                guard state == "completed" else {
                    throw Failure("\(what): \(current["error"]?["detail"]?.stringValue ?? state)")
                }
                return current
            }
            let percent = Int((current["progress"]?.numberValue ?? 0) * 100)
            let line = "\(what): \(state), \(percent) %"
            if line != shown { Console.note(line) }
            shown = line
            try await Task.sleep(for: .milliseconds(300))
            guard let id = current["id"]?.stringValue else { throw Failure("the API gave an operation without id") }
            do {
                current = try await get("/api/v1/operations/\(URLText.encode(id))")
            } catch is ConnectionLost {
                // The work goes on without us; the API may be back in a moment.
                try await Task.sleep(for: .seconds(1))
            } catch let failure as Failure where failure.status == 503 {
                try await Task.sleep(for: .seconds(1))
            }
        }
    }

    /// What a command that began long work prints: the operation, waited for or not.
    func report(_ reply: Reply, _ what: String, waits: Bool, json: Bool) async throws {
        let result = waits ? try await wait(reply.json, what: what) : reply.json
        if json {
            Console.print(json: result)
        } else if result["state"]?.stringValue == "completed" {
            Console.note("\(what)... done")
        } else {
            let id = result["id"]?.stringValue ?? "?"
            Console.note("\(what)... accepted; follow it with: paasctl operations \(id)")
        }
    }
}
