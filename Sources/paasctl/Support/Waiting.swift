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
            current = try await patientGet(
                "/api/v1/operations/\(URLText.encode(id))", after: "the work goes on; see: paasctl operations \(id)")
        }
    }

    /// Waits until a release is current, or the same code with another config that took its place meanwhile.
    /// - Throws: `Failure` with its output if it failed or another one took its place.
    func waitForRelease(_ first: Int64, of app: String) async throws {
        var version = first
        while true {
            let release = try await patientGet(
                "/api/v1/apps/\(app)/releases/\(version)",
                after: "the rollout goes on; see: paasctl releases info v\(version) -a \(app)")
            switch release.text("state") {
            case "current": return
            case "pending", "rolling": try await Task.sleep(for: .milliseconds(300))
            case let state:
                if state == "superseded" {
                    let next = try await patientGet(
                        "/api/v1/apps/\(app)/releases/\(version + 1)",
                        after: "the rollout goes on; see: paasctl releases -a \(app)")
                    if next["slug"] == release["slug"], next["commit"] == release["commit"] {
                        version += 1
                        continue
                    }
                }
                var message = "release v\(version) of \(app) " + (state == "failed" ? "failed" : "was \(state)")
                if let output = release["output"]?.stringValue, !output.isEmpty { message += ":\n\(output)" }
                throw Failure(message)
            }
        }
    }

    /// A GET that outlasts an API that is away for a while.
    /// - Parameters:
    ///   - rest: what to tell a user for whom it stayed away for too long.
    ///   - patience: for how long it may be away.
    func patientGet(_ path: String, after rest: String, patience: Duration = .seconds(Follower.patienceSeconds))
        async throws -> JSONValue
    {
        let clock = ContinuousClock()
        let start = clock.now
        var isTold = false
        while true {
            let reason: String
            do {
                return try await get(path)
            } catch let lost as ConnectionLost {
                reason = lost.reason
            } catch let failure as Failure where failure.status == 503 {
                reason = failure.message
            }
            guard clock.now - start < patience else { throw Failure("\(reason)\n\(rest)") }
            if !isTold {
                Console.note("paasctl: \(reason); waiting for it for up to \(patience.components.seconds) s")
                isTold = true
            }
            try await Task.sleep(for: .seconds(1))
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
