import API
import Domain
import HTTPTypes
import HummingbirdTesting
import Logging
import Synchronization
import Testing

@Suite struct OutageTests {
    @Test func beforeThePlatformHasBegunEverythingIsAnsweredThatItStarts() async throws {
        let settings = try Settings(environment: [:], file: "")
        let server = try APIServer(settings: settings, logger: Logger(label: "test"))
        try await server.publicApplication().test(.router) { client in
            #expect(try await client.call(.get, "/healthz", as: nil).status == 200)
            for path in [
                "/readyz", "/api/v1/apps", "/api/v1/status", "/git/demo.git/info/refs?service=git-upload-pack",
            ] {
                let answer = try await client.call(.get, path)
                expectProblem(answer, 503)
                #expect(answer.header("Retry-After") == "1")
            }
            expectProblem(try await client.call(.put, "/api/v1/apps/other", "{}"), 503)
        }
        try await server.routingApplication().test(.router) { client in
            expectProblem(try await client.call(.get, "/v1/table?router=a", as: nil), 503)
        }
    }

    @Test func theStatusIsShownToTheAdminWhileTheDatabaseIsAway() async throws {
        let world = try World()
        world.store.state.withLock { $0.isAway = true }
        try await world.server.publicApplication().test(.router) { client in
            let status = try await client.call(.get, "/api/v1/status")
            #expect(status.status == 200 && status.json["apps"] == .null)
            #expect(status.json["components"]?.arrayValue?.isEmpty == false)
            // Nobody else can be told from a stranger now, and nothing else can be answered.
            expectProblem(try await client.call(.get, "/api/v1/status", as: "developer"), 503)
            expectProblem(try await client.call(.get, "/api/v1/status", as: "wrong"), 503)
            expectProblem(try await client.call(.get, "/api/v1/apps"), 503)
        }
        // It goes away between two questions.
        world.store.state.withLock {
            $0.isAway = false
            $0.hasNoConfigs = true
        }
        try await world.server.publicApplication().test(.router) { client in
            let status = try await client.call(.get, "/api/v1/status")
            #expect(status.status == 200 && status.json["apps"] == .null && status.json["outdatedConfigs"] == .null)
        }
    }
}
