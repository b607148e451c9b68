import Domain
import Testing

@testable import paasctl

@Suite struct WaitingTests {
    private func failure(_ body: () async throws -> Void) async throws -> String {
        do {
            try await body()
        } catch let failure as Failure {
            return failure.message
        }
        Issue.record("it did not fail")
        return ""
    }

    @Test func anAPIThatStaysAwayEndsTheWaitAndTheOperationIsNamed() async throws {
        // Nobody listens any more.
        let address = try APIAddress("http://127.0.0.1:\(try ScriptedAPI([]).port)")
        let client = APIClient(api: address, token: "secret", certificates: nil)
        let message = try await failure {
            _ = try await client.patientGet(
                "/api/v1/operations/7", after: "see: paasctl operations 7", patience: .milliseconds(500))
        }
        #expect(message.contains("can't be reached") && message.contains("paasctl operations 7"))
    }

    @Test func anAPIThatComesBackEndsTheWaitWell() async throws {
        let replies: [ScriptedAPI.Reply] = [
            .json(#"{"detail":"the database is away"}"#, status: "503 Service Unavailable"),
            .json(#"{"state":"completed"}"#),
        ]
        try await ScriptedAPI.run(replies) { _, client in
            let json = try await client.patientGet("/api/v1/operations/7", after: "-")
            #expect(json.text("state") == "completed")
        }
    }

    @Test func aReleaseThatFailsFailsTheCommandWithItsOutput() async throws {
        let replies: [ScriptedAPI.Reply] = [
            .json(#"{"state":"rolling"}"#), .json(#"{"state":"failed","output":"web.1 exited with status 3"}"#),
            .json(#"{"state":"current"}"#),
            .json(#"{"state":"superseded","slug":"a","commit":"1"}"#),
            .json(#"{"state":"current","slug":"b","commit":"1"}"#),
        ]
        try await ScriptedAPI.run(replies) { _, client in
            let failed = try await failure { try await client.waitForRelease(4, of: "demo") }
            #expect(failed == "release v4 of demo failed:\nweb.1 exited with status 3")
            try await client.waitForRelease(5, of: "demo")
            let superseded = try await failure { try await client.waitForRelease(6, of: "demo") }
            #expect(superseded.contains("was superseded"))
        }
    }

    @Test func theSameCodeWithAnotherConfigIsWaitedForInstead() async throws {
        let old = ScriptedAPI.Reply.json(#"{"state":"superseded","slug":"a","commit":"1"}"#)
        let new = ScriptedAPI.Reply.json(#"{"state":"current","slug":"a","commit":"1"}"#)
        try await ScriptedAPI.run([old, new, new]) { api, client in
            try await client.waitForRelease(6, of: "demo")
            #expect(api.requests.last?.hasPrefix("GET /api/v1/apps/demo/releases/7 ") == true)
        }
    }

    @Test func aFollowerResumesFromTheStartOfTheStreamAndStopsAtItsEnd() async throws {
        let replies: [ScriptedAPI.Reply] = [
            .events("id: 7\n\n"),
            .events("id: 8\ndata: {\"text\":\"eight\"}\n\nevent: end\ndata: {}\n\n"),
        ]
        try await ScriptedAPI.run(replies) { api, client in
            var texts: [String] = []
            let follower = Follower(client: client, path: "/x", query: [("tail", "5"), ("follow", "1")])
            try await follower.run { texts.append($0.text("text")) }
            #expect(texts == ["eight"])
            #expect(api.requests.count == 2)
            #expect(api.requests.first?.hasPrefix("GET /x?tail=5&follow=1 ") == true)
            #expect(api.requests.last?.hasPrefix("GET /x?follow=1 ") == true)
            #expect(api.requests.last?.lowercased().contains("last-event-id: 7\r\n") == true)
        }
    }

    @Test func aStreamThatIsTakenAwayFailsTheCommand() async throws {
        let gone = ScriptedAPI.Reply.events(
            "event: error\ndata: {\"error\":{\"detail\":\"the token is expired\"}}\n\n")
        try await ScriptedAPI.run([gone]) { _, client in
            let message = try await failure {
                try await Follower(client: client, path: "/x", query: []).run { _ in }
            }
            #expect(message == "the token is expired")
        }
    }

    @Test func silenceIsALostConnection() async throws {
        try await ScriptedAPI.run([.events(": \n\n", isHeld: true)], silenceSeconds: 1) { _, client in
            let lost = await #expect(throws: ConnectionLost.self) { try await client.lines("/x") { _ in } }
            #expect(lost?.reason.contains("silent for 1 s") == true)
        }
    }
}
