import API
import Domain
import Hummingbird
import HummingbirdTesting
import Synchronization
import Testing

/// `Idempotency-Key`: what is sent twice is done once.
@Suite struct IdempotencyTests {
    private static let builds = "/api/v1/apps/demo/builds"
    private static let body = #"{"source":{"git":{"url":"https://git.example/dns.git"}}}"#
    private static func key(_ text: String, _ more: [String: String] = [:]) -> [String: String] {
        more.merging(["Idempotency-Key": text]) { $1 }
    }

    @Test func aRepetitionGetsTheFirstAnswer() async throws {
        let world = try World()
        try await world.server.publicApplication().test(.router) { client in
            let first = try await client.call(.post, Self.builds, Self.body, headers: Self.key("a b"))
            let again = try await client.call(.post, Self.builds, Self.body, headers: Self.key("a b"))
            #expect(first.status == 202 && again.status == 202)
            #expect(first.header("Idempotency-Replayed") == nil && again.header("Idempotency-Replayed") == "true")
            #expect(again.text == first.text && !again.text.isEmpty)
            for name in ["Location", "Content-Type", "Cache-Control"] {
                #expect(first.header(name) != nil && again.header(name) == first.header(name))
            }
            #expect(world.builds.started.withLock { $0.count } == 1)
            #expect(world.builds.ids.withLock { $0.first } != .some(nil))
            // Without a key, each is one of its own.
            for _ in 0..<2 { #expect(try await client.call(.post, Self.builds, Self.body).status == 202) }
            #expect(world.builds.started.withLock { $0.count } == 3)
            #expect(world.builds.ids.withLock { $0.last } == .some(nil))
        }
    }

    @Test func aSecretIsGivenAgain() async throws {
        let world = try World()
        try await world.server.publicApplication().test(.router) { client in
            let body = #"{"role":"viewer"}"#
            let first = try await client.call(.post, "/api/v1/tokens", body, headers: Self.key("t"))
            let again = try await client.call(.post, "/api/v1/tokens", body, headers: Self.key("t"))
            #expect(first.status == 201 && again.status == 201 && again.json["token"] == first.json["token"])
            #expect(world.store.state.withLock { $0.principals.count } == 4)
        }
    }

    @Test func aKeyIsForOneRequestOfOneToken() async throws {
        let none: [String: String] = [:]
        let world = try World()
        try await world.server.publicApplication().test(.router) { client in
            #expect(try await client.call(.post, Self.builds, Self.body, headers: Self.key("k")).status == 202)
            for (path, body, more) in [
                (Self.builds, #"{"source":{"git":{"url":"https://git.example/other.git"}}}"#, none),
                (Self.builds + "?noWait=1", Self.body, none), ("/api/v1/apps/demo/releases", Self.body, none),
                (Self.builds, Self.body, ["Content-Type": "application/merge-patch+json"]),
                (Self.builds, Self.body, ["Content-Type": "application/x-tar"]),
            ] {
                let other = try await client.call(.post, path, body, headers: Self.key("k", more))
                expectProblem(other, 422)
                #expect(other.text.contains("Idempotency-Key"))
            }
            let developer = try await client.call(
                .post, Self.builds, Self.body, as: "developer", headers: Self.key("k"))
            #expect(developer.status == 202 && developer.header("Idempotency-Replayed") == nil)
            #expect(world.builds.started.withLock { $0.count } == 2)
            #expect(Set(world.builds.ids.withLock { $0 }).count == 2)
            expectProblem(
                try await client.call(.post, Self.builds, Self.body, as: nil, headers: Self.key("k")), 401)
        }
    }

    @Test func aKeyThatIsNoneIsRefused() async throws {
        let world = try World()
        try await world.server.publicApplication().test(.router) { client in
            for text in ["", String(repeating: "x", count: 256), "schlüssel", "tab\tin"] {
                let refused = try await client.call(.post, Self.builds, Self.body, headers: Self.key(text))
                expectProblem(refused, 400)
                #expect(refused.text.contains("255"))
            }
            #expect(world.builds.started.withLock { $0.isEmpty })
            let longest = Self.key(String(repeating: "x", count: 255))
            #expect(try await client.call(.post, Self.builds, Self.body, headers: longest).status == 202)
            // It means nothing where a method is idempotent by itself.
            for _ in 0..<2 {
                let put = try await client.call(.put, "/api/v1/apps/new", "{}", headers: Self.key("k"))
                #expect(put.header("Idempotency-Replayed") == nil && put.status < 300)
            }
        }
    }

    @Test func aFailureIsTriedAgainAndARefusalIsNot() async throws {
        let world = try World()
        try await world.server.publicApplication().test(.router) { client in
            world.builds.failure.withLock { $0 = PaaSError(.unavailable, "away") }
            expectProblem(try await client.call(.post, Self.builds, Self.body, headers: Self.key("k")), 503)
            world.builds.failure.withLock { $0 = nil }
            let again = try await client.call(.post, Self.builds, Self.body, headers: Self.key("k"))
            #expect(again.status == 202 && again.header("Idempotency-Replayed") == nil)
            // It asked for the same build both times: one that was opened before the failure would have been found.
            #expect(Set(world.builds.ids.withLock { $0 }).count == 1)

            world.builds.failure.withLock { $0 = PaaSError(.conflict, "busy") }
            expectProblem(try await client.call(.post, Self.builds, Self.body, headers: Self.key("other")), 409)
            world.builds.failure.withLock { $0 = nil }
            let refused = try await client.call(.post, Self.builds, Self.body, headers: Self.key("other"))
            expectProblem(refused, 409)
            #expect(refused.header("Idempotency-Replayed") == "true" && refused.text.contains("busy"))
        }
    }

    @Test func whatIsUnderWayIsNotBegunAgain() async throws {
        let gate = Gate()
        let world = try World(gate: gate)
        try await world.server.publicApplication().test(.router) { client in
            async let first = client.call(.post, Self.builds, Self.body, headers: Self.key("k"))
            await gate.arrival()
            let second = try await client.call(.post, Self.builds, Self.body, headers: Self.key("k"))
            expectProblem(second, 409)
            #expect(second.header("Retry-After") == "1")
            expectProblem(
                try await client.call(.post, Self.builds + "?noWait=1", Self.body, headers: Self.key("k")), 422)
            await gate.open()
            #expect(try await first.status == 202)
            let third = try await client.call(.post, Self.builds, Self.body, headers: Self.key("k"))
            #expect(third.status == 202 && third.header("Idempotency-Replayed") == "true")
            #expect(world.builds.started.withLock { $0.count } == 1)
        }
    }

    @Test func anArchiveIsTakenOnceAndMayComeAgainWhenRefused() async throws {
        let world = try World()
        try await world.server.publicApplication().test(.router) { client in
            let headers = Self.key("k", ["Content-Type": "application/x-tar"])
            expectProblem(try await client.call(.post, Self.builds, "", headers: headers), 400)
            let first = try await client.call(.post, Self.builds, "archive", headers: headers)
            let again = try await client.call(.post, Self.builds, "archive", headers: headers)
            #expect(first.status == 202 && again.text == first.text)
            #expect(again.header("Idempotency-Replayed") == "true")
            #expect(world.builds.started.withLock { $0.count } == 1 && world.builds.uploads.withLock { $0.count } == 2)
        }
    }
}
