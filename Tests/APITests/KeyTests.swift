import Domain
import HTTPTypes
import Hummingbird
import HummingbirdTesting
import NIOCore
import Synchronization
import Testing

@testable import API

@Suite struct KeyTests {
    static let line =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBX+nWXnD8FVsQ5gobzGseo2F1clWYEYqRN5Tm1BY7UT me@laptop"
    static let fingerprint = "SHA256:Do2L1pSGv0rTrXiRhsEd9bgKKSdUHAoT9PYAGcX4DwY"

    private func body(_ key: String, name: String? = nil) -> String {
        var members: [JSONValue.Member] = [.init("key", .string(key))]
        if let name { members.append(.init("name", .string(name))) }
        return String(decoding: JSONValue.object(members).encoded(), as: UTF8.self)
    }

    @Test func keysAreAddedListedAndRemoved() async throws {
        let world = try World()
        try await world.server.publicApplication().test(.router) { client in
            let made = try await client.call(.post, "/api/v1/keys", body(Self.line), as: "developer")
            #expect(made.status == 201)
            #expect(made.json["name"]?.stringValue == "me@laptop" && made.json["type"]?.stringValue == "ssh-ed25519")
            #expect(made.json["fingerprint"]?.stringValue == Self.fingerprint)
            let id = try #require(made.json["id"]?.stringValue)
            #expect(made.header("Location") == "/api/v1/keys/\(id)")
            #expect(made.text.contains("AAAAC3") == false)
            expectProblem(try await client.call(.post, "/api/v1/keys", body(Self.line), as: "developer"), 409)
            #expect(try await client.call(.get, "/api/v1/keys/\(id)", as: "developer").json == made.json)
            #expect(try await client.call(.get, "/api/v1/keys", as: "admin").json.arrayValue?.count == 1)
            #expect(try await client.call(.get, "/api/v1/keys", as: "viewer").json.arrayValue?.isEmpty == true)
            expectProblem(try await client.call(.get, "/api/v1/keys/\(id)", as: "viewer"), 404)
            expectProblem(try await client.call(.delete, "/api/v1/keys/\(id)", as: "viewer"), 404)
            expectProblem(try await client.call(.delete, "/api/v1/keys/nonsense", as: "developer"), 404)
            #expect(try await client.call(.delete, "/api/v1/keys/\(id)", as: "developer").status == 204)
            expectProblem(try await client.call(.delete, "/api/v1/keys/\(id)", as: "developer"), 404)
            let named = try await client.call(.post, "/api/v1/keys", body(Self.line, name: "ci"), as: "viewer")
            #expect(named.json["name"]?.stringValue == "ci")
        }
    }

    @Test func whatIsNoKeyIsRefused() async throws {
        let world = try World()
        try await world.server.publicApplication().test(.router) { client in
            expectProblem(try await client.call(.post, "/api/v1/keys", "{}"), 400)
            expectProblem(try await client.call(.post, "/api/v1/keys", "{\"key\":\"x\",\"colour\":1}"), 400)
            let wrong = try await client.call(.post, "/api/v1/keys", body("ssh-ed25519 AAAA"))
            expectProblem(wrong, 422)
            #expect(wrong.json["invalidParams"]?.arrayValue?.first?["name"]?.stringValue == "key")
            let secret = try await client.call(
                .post, "/api/v1/keys", body("-----BEGIN OPENSSH PRIVATE KEY-----\nSECRETSECRET"))
            expectProblem(secret, 422)
            #expect(secret.text.contains("private key") && !secret.text.contains("SECRETSECRET"))
            expectProblem(try await client.call(.put, "/api/v1/keys", "{}"), 405)
        }
    }

    @Test func gitRequestsOfOneTokenAndAppAreCounted() async throws {
        let world = try World(environment: ["PAAS_GIT_REQUESTS_PER_HOUR": "3"])
        world.store.state.withLock { $0.apps["other"] = World.app("other") }
        @Sendable func ask(_ client: any TestClientProtocol, _ app: String, _ token: String) async throws -> Answer {
            try await client.call(.get, "/git/\(app).git/info/refs?service=git-upload-pack", as: token)
        }
        try await world.server.publicApplication().test(.router) { client in
            for _ in 0..<3 { #expect(try await ask(client, "demo", "developer").status == 200) }
            let refused = try await ask(client, "demo", "developer")
            #expect(refused.status == 429 && refused.header("Content-Type")?.hasPrefix("text/plain") == true)
            #expect(refused.text.contains("3 git requests") && refused.text.contains("1200 s"), "\(refused.text)")
            // Others have theirs.
            #expect(try await ask(client, "demo", "viewer").status == 200)
            #expect(try await ask(client, "other", "developer").status == 200)
        }
    }

    @Test func theBudgetRefillsEvenly() throws {
        let budget = GitRequestBudget(perHour: 2), token = TokenID.random(), app = AppID.random()
        let start = Timestamp(microseconds: 0)
        try budget.take(token, app, now: start)
        try budget.take(token, app, now: start)
        #expect(throws: PaaSError.self) { try budget.take(token, app, now: start.adding(seconds: 1799)) }
        try budget.take(token, app, now: start.adding(seconds: 1800))
        #expect(throws: PaaSError.self) { try budget.take(token, app, now: start.adding(seconds: 1801)) }
        // A clock that was set back gives nothing away, and takes nothing.
        #expect(throws: PaaSError.self) { try budget.take(token, app, now: start) }
    }
}
