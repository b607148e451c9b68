import API
import Domain
import HTTPTypes
import Hummingbird
import HummingbirdTesting
import NIOCore
import Synchronization
import Telemetry
import Testing

@Suite struct RESTTests {
    @Test func credentialsOfEveryKind() async throws {
        let world = try World()
        try await world.server.publicApplication().test(.router) { client in
            let none = try await client.call(.get, "/api/v1/apps", as: nil)
            expectProblem(none, 401)
            #expect(none.header("WWW-Authenticate")?.contains("Bearer") == true)
            expectProblem(try await client.call(.get, "/api/v1/apps", as: "wrong"), 401)
            let token = try await client.call(.get, "/api/v1/apps", as: nil, headers: ["X-Auth-Token": "viewer"])
            #expect(token.status == 200)
            // any:viewer
            let basic = try await client.call(
                .get, "/api/v1/whoami", as: nil, headers: ["Authorization": "Basic YW55OnZpZXdlcg=="])
            #expect(basic.json["role"] == .string("viewer"))
            expectProblem(
                try await client.call(.get, "/api/v1/apps", as: nil, headers: ["Authorization": "Basic %%%"]), 401)
        }
    }

    @Test func rolesLimitWhatMayBeDone() async throws {
        let world = try World()
        try await world.server.publicApplication().test(.router) { client in
            expectProblem(try await client.call(.put, "/api/v1/apps/other", "{}", as: "viewer"), 403)
            expectProblem(try await client.call(.get, "/api/v1/tokens", as: "developer"), 403)
            expectProblem(try await client.call(.put, "/api/v1/spaces/team", "{}", as: "developer"), 403)
            #expect(try await client.call(.put, "/api/v1/apps/other", "{}", as: "developer").status == 201)
            let made = try await client.call(.post, "/api/v1/tokens", #"{"role":"developer","space":"team"}"#)
            #expect(made.status == 201)
            let secret = try #require(made.json["token"]?.stringValue)
            #expect(try await client.call(.get, "/api/v1/whoami", as: secret).json["role"] == .string("developer"))
        }
    }

    @Test func unknownPathsAndMethods() async throws {
        let world = try World()
        try await world.server.publicApplication().test(.router) { client in
            expectProblem(try await client.call(.get, "/api/v1/nothing"), 404)
            expectProblem(try await client.call(.get, "/"), 404)
            expectProblem(try await client.call(.get, "/api/v1/apps/unknown"), 404)
            let wrong = try await client.call(.post, "/api/v1/apps/demo")
            expectProblem(wrong, 405)
            #expect(wrong.header("Allow") == "DELETE, GET, HEAD, PATCH, PUT")
            expectProblem(try await client.call(.get, "/api/v1/apps/%ff"), 400)
            let head = try await client.execute(uri: "/healthz", method: .head)
            #expect(head.status == .ok && head.body.readableBytes == 0)
        }
    }

    @Test func shapesShowWhatTheContractNamesAndNothingElse() async throws {
        let world = try World()
        try await world.server.publicApplication().test(.router) { client in
            let app = try await client.call(.get, "/api/v1/apps/demo").json
            #expect(
                app.members?.map(\.name) == [
                    "id", "name", "space", "stack", "deployBranch", "buildpacks", "labels", "currentRelease", "webUrl",
                    "gitUrl", "createdAt", "updatedAt",
                ])
            // As the caller reached us.
            #expect(app["gitUrl"] == .string("http://localhost/git/demo.git"))
            let behind = try await client.call(
                .get, "/api/v1/apps/demo", headers: ["X-Forwarded-Proto": "https"])
            #expect(behind.json["gitUrl"] == .string("https://localhost/git/demo.git"))
            #expect(app["webUrl"] == .null)
            let made = try await client.call(
                .put, "/api/v1/apps/demo/ports/web", #"{"protocol":"tcp","targetPort":8080}"#)
            #expect(made.status == 201)
            #expect(made.json["publicAddress"] == .string("192.0.2.1"))
            #expect(made.json["publicPort"] == .integer(20000))
            #expect(try await client.call(.put, "/api/v1/apps/demo/ports/web", #"{"protocol":"tcp"}"#).status == 200)
            expectProblem(try await client.call(.put, "/api/v1/apps/demo/ports/dns", #"{"protocol":"udp"}"#), 422)
            let release = try await client.call(.get, "/api/v1/apps/demo/releases/3").json
            #expect(release["processTypes"]?["web"] == .string("./run"))
            let list = try await client.call(.get, "/api/v1/apps/demo/releases?limit=2")
            #expect(list.json.arrayValue?.count == 2)
            #expect(list.header("Link") == "</api/v1/apps/demo/releases?before=4&limit=2>; rel=\"next\"")
        }
    }

    @Test func bodiesAreReadStrictly() async throws {
        let world = try World()
        try await world.server.publicApplication().test(.router) { client in
            let path = "/api/v1/apps/new"
            let broken = try await client.call(.put, path, "{\n  \"space\": }")
            expectProblem(broken, 400)
            #expect(broken.json["detail"]?.stringValue?.contains("line 2, column 12") == true)
            let unknown = try await client.call(.put, path, #"{"spcae":"x"}"#)
            expectProblem(unknown, 400)
            #expect(unknown.json["invalidParams"]?.arrayValue?.first?["name"] == .string("spcae"))
            expectProblem(try await client.call(.put, path, #"{"space":"a","space":"b"}"#), 400)
            expectProblem(try await client.call(.put, path, #"{"space":7}"#), 400)
            expectProblem(try await client.call(.put, path, "[]"), 400)
            expectProblem(try await client.call(.put, "/api/v1/apps/Upper", "{}"), 422)
            expectProblem(try await client.call(.put, "/api/v1/apps/taken", "{}"), 409)
            expectProblem(try await client.call(.get, "/api/v1/apps?colour=blue"), 400)
            expectProblem(try await client.call(.get, "/api/v1/apps?limit=x"), 400)
            expectProblem(try await client.call(.get, "/api/v1/apps?limit=1&limit=2"), 400)
            // Browsers keep Basic credentials: no form of a web page may use them. A token that the caller set is another matter.
            let form = "application/x-www-form-urlencoded"
            for type in [form, "text/plain"] {
                let headers = ["Content-Type": type, "Authorization": "Basic YW55OmFkbWlu"]
                expectProblem(try await client.call(.put, path, "{}", as: nil, headers: headers), 415)
            }
            expectProblem(try await client.call(.put, path, "a=b", headers: ["Content-Type": form]), 400)
            let large = try await client.call(.put, path, "\"\(String(repeating: "x", count: 1 << 20))\"")
            expectProblem(large, 413)
            #expect(large.json["detail"]?.stringValue?.contains("1048576") == true)
            #expect(try await client.call(.put, path, nil).status == 201)
        }
    }

    @Test func configKeepsBytesAndVersions() async throws {
        let world = try World()
        try await world.server.publicApplication().test(.router) { client in
            let path = "/api/v1/apps/demo/config"
            let first = try await client.call(.get, path)
            #expect(first.header("ETag") == "\"1\"")
            let set = try await client.call(
                .patch, path, #"{"A":"two\nlines \" $é","B":{"base64":"/w=="}}"#, headers: ["If-Match": "\"1\""])
            #expect(set.status == 202)
            #expect(set.header("ETag") == "\"2\"")
            let location = try #require(set.header("Location"))
            #expect(try await client.call(.get, location).json["kind"] == .string("config"))
            let vars = try await client.call(.get, path).json
            #expect(vars["A"] == .string("two\nlines \" $é"))
            #expect(vars["B"]?["base64"] == .string("/w=="))
            expectProblem(try await client.call(.patch, path, "{}", headers: ["If-Match": "\"1\""]), 412)
            expectProblem(try await client.call(.patch, path, #"{"PORT":"1"}"#), 422)
            // It may have been set before the platform took the name for itself.
            #expect(try await client.call(.patch, path, #"{"PORT":null}"#).status < 300)
            expectProblem(try await client.call(.patch, path, #"{"A":"\u0000"}"#), 422)
            expectProblem(try await client.call(.patch, path, #"{"A":5}"#), 400)
            #expect(try await client.call(.patch, path, #"{"A":null}"#).status == 202)
            #expect(try await client.call(.get, path).json["A"] == nil)
        }
    }

    @Test func formationTakesCountsAndSizes() async throws {
        let world = try World()
        try await world.server.publicApplication().test(.router) { client in
            let path = "/api/v1/apps/demo/formation"
            let body = #"{"web":3,"worker":{"quantity":1,"memory":"512Mi","cpu":0.25}}"#
            #expect(try await client.call(.patch, path, body, headers: ["If-Match": "\"1\""]).status == 202)
            let now = try await client.call(.get, path)
            #expect(now.json["web"]?["quantity"] == .integer(3))
            #expect(now.json["worker"]?["memory"] == .string("512Mi"))
            #expect(now.json["worker"]?["cpu"] == .number(0.25))
            #expect(now.header("ETag") == "\"2\"")
            expectProblem(try await client.call(.patch, path, body, headers: ["If-Match": "\"1\""]), 412)
            expectProblem(try await client.call(.patch, path, #"{"web":-1}"#), 422)
            expectProblem(try await client.call(.patch, path, #"{"web":501}"#), 422)
            expectProblem(try await client.call(.patch, path, #"{"web":"3"}"#), 400)
            expectProblem(try await client.call(.patch, path, #"{"web":{"memory":"1 lot"}}"#), 422)
        }
    }

    @Test func buildsReleasesAndProcesses() async throws {
        let world = try World()
        try await world.server.publicApplication().test(.router) { client in
            let builds = "/api/v1/apps/demo/builds"
            let started = try await client.call(.post, builds, #"{"source":{"commit":"0123456"}}"#)
            #expect(started.status == 202)
            #expect(started.json["target"] == .string("/api/v1/apps/demo/builds/1"))
            let build = try await client.call(.get, builds + "/1").json
            #expect(build["source"]?["commit"] == .string(FakeRepositories.commit))
            #expect(
                try await client.call(.get, builds + "/1/log?follow=1").text
                    == "-----> Python app detected\n       done\n")
            expectProblem(try await client.call(.post, builds, #"{"source":{"commit":"fffffff"}}"#), 422)
            expectProblem(try await client.call(.get, builds + "/9"), 404)

            let releases = "/api/v1/apps/demo/releases"
            #expect(try await client.call(.post, releases, #"{"rollback":3}"#).status == 202)
            #expect(try await client.call(.post, releases, #"{"rollback":null}"#).status == 202)
            #expect(world.store.state.withLock { $0.rollbacks } == [3, nil])
            expectProblem(try await client.call(.post, releases, #"{"rollback":3,"slug":"x"}"#), 422)
            expectProblem(try await client.call(.post, releases, #"{"slug":"sha256:1"}"#), 422)

            #expect(try await client.call(.delete, "/api/v1/apps/demo/processes/web.1").status == 202)
            expectProblem(try await client.call(.get, "/api/v1/apps/demo/processes/web.9"), 404)
            let stack = try await client.call(.post, "/api/v1/stacks/debian-13/build")
            #expect(stack.status == 202)
            expectProblem(try await client.call(.post, "/api/v1/stacks/none/build"), 404)
        }
    }

    @Test func aDatabaseThatIsAwayIs503AndReadyzSaysSo() async throws {
        let world = try World()
        try await world.server.publicApplication().test(.router) { client in
            #expect(try await client.call(.get, "/readyz", as: nil).status == 200)
            world.store.state.withLock { $0.isAway = true }
            expectProblem(try await client.call(.get, "/readyz", as: nil), 503)
            expectProblem(try await client.call(.get, "/api/v1/apps"), 503)
            #expect(try await client.call(.get, "/healthz", as: nil).status == 200)
            world.store.state.withLock { $0.isAway = false }
            #expect(try await client.call(.get, "/api/v1/apps").status == 200)
        }
    }

    @Test func logsAreMergedFilteredAndTailed() async throws {
        let world = try World()
        let app = try #require(world.store.state.withLock { $0.apps["demo"]?.id })
        world.lines.append(
            app: app,
            LogLine(
                time: FakeStore.time.adding(seconds: 5.5), source: .platform, process: "web.1", text: "crashed"))
        try await world.server.publicApplication().test(.router) { client in
            func texts(_ query: String) async throws -> [String] {
                let answer = try await client.call(.get, "/api/v1/apps/demo/logs?" + query)
                return try answer.text.split(separator: "\n").map {
                    try JSONParser.parse(Array($0.utf8))["text"]?.stringValue ?? ""
                }
            }
            #expect(try await texts("tail=2") == ["line 19", "line 20"])
            #expect(try await texts("process=worker.1&tail=1") == ["line 20"])
            #expect(try await texts("process=web.1&tail=1") == ["line 19"])
            #expect(try await texts("source=platform") == ["crashed"])
            #expect(try await texts("process=web&tail=100").count == 11)
            let all = try await texts("tail=100")
            #expect(all.count == 21 && all[6] == "crashed")
            expectProblem(try await client.call(.get, "/api/v1/apps/demo/logs?source=cellar"), 400)
            // Without the engine the rest is shown, and a line says what is missing.
            world.engine.isAway.withLock { $0 = true }
            let rest = try await texts("tail=100")
            #expect(
                rest.sorted() == ["a part of this log can't be read now: the engine does not answer", "crashed"])
        }
        await world.lines.remove(app: app)
    }

    @Test func aSourceThatIsBackGoesOnWhereItWas() async throws {
        let world = try World()
        let app = try #require(world.store.state.withLock { $0.apps["demo"] })
        let reader = MergedLogReader([EngineLogLines(engine: world.engine), world.lines])
        world.engine.isAway.withLock { $0 = true }
        let away = try await reader.read(app, LogQuery(), after: nil, limit: 3)
        #expect(away.lines.count == 1)
        // It is said once, not with every look.
        let still = try await reader.read(app, LogQuery(), after: away.next, limit: 3)
        #expect(still.lines.isEmpty)
        world.engine.isAway.withLock { $0 = false }
        let back = try await reader.read(app, LogQuery(), after: still.next, limit: 3)
        #expect(back.lines.map(\.text) == ["line 18", "line 19", "line 20"])
        #expect(try await reader.read(app, LogQuery(), after: back.next, limit: 3).lines.isEmpty)
        await #expect(throws: PaaSError.self) {
            try await reader.read(app, LogQuery(), after: LogCursor("[]"), limit: 3)
        }
    }

    @Test func pagesOfOtherSitesChangeNothingWithKeptCredentials() async throws {
        let world = try World()
        try await world.server.publicApplication().test(.router) { client in
            let path = "/api/v1/apps/demo/processes"
            let basic = ["Authorization": "Basic YW55OmFkbWlu"]
            func status(_ headers: [String: String]) async throws -> Int {
                try await client.call(
                    .delete, path, as: nil, headers: basic.merging(headers) { $1 }
                ).status
            }
            #expect(try await status([:]) == 202)
            #expect(try await status(["Origin": "http://localhost", "Sec-Fetch-Site": "same-origin"]) == 202)
            #expect(try await status(["Origin": "http://localhost"]) == 202)
            #expect(try await status(["Origin": "https://evil.example"]) == 403)
            #expect(try await status(["Origin": "null"]) == 403)
            #expect(try await status(["Sec-Fetch-Site": "cross-site"]) == 403)
            #expect(try await status(["Sec-Fetch-Site": "same-site"]) == 403)
            // A page can't make a browser send a token of its own; reading is for the browser's own rules.
            let bearer = try await client.call(.delete, path, headers: ["Origin": "https://evil.example"])
            #expect(bearer.status == 202)
            let read = try await client.call(
                .get, path, as: nil, headers: basic.merging(["Origin": "https://evil.example"]) { $1 })
            #expect(read.status == 200)
        }
    }

    @Test func configIsNotForViewers() async throws {
        let world = try World()
        try await world.server.publicApplication().test(.router) { client in
            #expect(try await client.call(.get, "/api/v1/apps/demo/config", as: "developer").status == 200)
            let refused = try await client.call(.get, "/api/v1/apps/demo/config", as: "viewer")
            expectProblem(refused, 403)
            #expect(refused.json["detail"]?.stringValue?.contains("viewer") == true)
        }
    }

    @Test func configThatDoesNotRunIsSaidSo() async throws {
        let world = try World()
        try await world.server.publicApplication().test(.router) { client in
            let running = try await client.call(.get, "/api/v1/apps/demo/config")
            #expect(running.header("X-Config-State") == "running")
            world.store.state.withLock {
                $0.outdated = ConfigStatus(
                    app: "demo", wantedVersion: 5, runningVersion: 4, release: 7, releaseState: .failed)
            }
            let failed = try await client.call(.get, "/api/v1/apps/demo/config")
            #expect(failed.header("X-Config-State") == "failed")
            #expect(failed.header("X-Config-Release") == "7")
            #expect(failed.header("X-Config-Running-Version") == "4")
            let status = try await client.call(.get, "/api/v1/status")
            let outdated = status.json["outdatedConfigs"]?.arrayValue?.first
            #expect(outdated?["app"] == .string("demo") && outdated?["state"] == .string("failed"))
        }
    }

    @Test func deletionsInEveryMode() async throws {
        let world = try World()
        try await world.server.publicApplication().test(.router) { client in
            let path = "/api/v1/apps/demo"
            for query in ["", "?mode=graceful", "?mode=graceful&timeout=10", "?timeout=0", "?mode=forceful"] {
                #expect(try await client.call(.delete, path + query).status == 202)
            }
            let now = FakeStore.time
            #expect(world.store.state.withLock { $0.deletions } == [nil, nil, now.adding(seconds: 10), now, now])
            expectProblem(try await client.call(.delete, path + "?mode=quick"), 400)
            expectProblem(try await client.call(.delete, path + "?timeout=-1"), 400)
            expectProblem(try await client.call(.delete, path + "?mode=forceful&timeout=3"), 400)
        }
    }

    @Test func anUnknownStackIsRefusedWithTheKnownOnes() async throws {
        let world = try World()
        try await world.server.publicApplication().test(.router) { client in
            for (method, path) in [(HTTPRequest.Method.put, "new"), (.patch, "demo")] {
                let refused = try await client.call(method, "/api/v1/apps/\(path)", #"{"stack":"debian-99"}"#)
                expectProblem(refused, 422)
                #expect(refused.json["detail"]?.stringValue?.contains("debian-13") == true)
            }
            #expect(try await client.call(.put, "/api/v1/apps/new", #"{"stack":"debian-13"}"#).status == 201)
        }
    }

    @Test func whatIsUsedUpOrExpiredIsSaidSo() async throws {
        let world = try World()
        try await world.server.publicApplication().test(.router) { client in
            let full = try await client.call(.put, "/api/v1/apps/demo/ports/full", #"{"protocol":"tcp"}"#)
            expectProblem(full, 422)
            #expect(full.json["type"] == .string("urn:slipway:problem:exhausted"))
            #expect(full.json["detail"]?.stringValue?.contains("20000 to 20001") == true)
            world.store.state.withLock { $0.expiries[SecretText.hash("developer")] = FakeStore.time }
            let expired = try await client.call(.get, "/api/v1/apps", as: "developer")
            expectProblem(expired, 401)
            #expect(expired.json["detail"]?.stringValue?.contains("expired") == true)
        }
    }

    @Test func metricsCountWhatThereIs() async throws {
        let world = try World()
        try await world.server.publicApplication().test(.router) { client in
            _ = try await client.call(.get, "/api/v1/nothing")
            let answer = try await client.call(.get, "/metrics", as: "viewer")
            #expect(answer.status == 200)
            #expect(answer.header("Content-Type")?.hasPrefix("text/plain; version=0.0.4") == true)
            for line in [
                "slipway_up{part=\"paasd\"} 1", "# TYPE slipway_http_requests_total counter",
                "slipway_http_requests_total{status=\"404\"} 1", "slipway_processes{state=\"up\"} 1",
                "slipway_processes{state=\"crashed\"} 0", "slipway_builds{state=\"failed\"} 2", "slipway_apps 1",
                "slipway_database_connections 4",
            ] {
                #expect(answer.text.contains(line + "\n"), "\(answer.text)")
            }
            expectProblem(try await client.call(.get, "/metrics", as: nil), 401)
            world.store.state.withLock {
                $0.principals[SecretText.hash("limited")] = Principal(
                    token: .random(), name: "limited", role: .developer, space: .random())
            }
            expectProblem(try await client.call(.get, "/metrics", as: "limited"), 403)
        }
    }

    @Test func plainHTTPBeyondLoopbackIsRefused() throws {
        #expect(throws: PaaSError.self) { try World(environment: ["PAAS_API_ADDRESS": "0.0.0.0:7070"]) }
        _ = try World(environment: ["PAAS_API_ADDRESS": "0.0.0.0:7070", "PAAS_API_PLAINTEXT": "1"])
        _ = try World(environment: ["PAAS_API_ADDRESS": "[::1]:7070"])
    }
}
