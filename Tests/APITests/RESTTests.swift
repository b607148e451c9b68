import API
import Domain
import HTTPTypes
import Hummingbird
import HummingbirdTesting
import NIOCore
import Synchronization
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
            #expect(app["gitUrl"] == .string("http://127.0.0.1:7070/git/demo.git"))
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
            expectProblem(try await client.call(.post, builds, #"{"source":{"git":{"url":"https://x"}}}"#), 422)
            let tar = try await client.call(.post, builds, "x", headers: ["Content-Type": "application/gzip"])
            expectProblem(tar, 422)
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
        world.store.state.withLock {
            $0.events.append(
                Event(
                    id: 1, time: FakeStore.time.adding(seconds: 5.5), kind: "process.crashed", app: "demo", space: nil,
                    actor: nil, data: ["process": "web.1", "exitCode": "1"]))
        }
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
            #expect(try await texts("source=platform") == ["process.crashed exitCode=1"])
            let all = try await texts("tail=100")
            #expect(all.count == 21 && all[6] == "process.crashed exitCode=1")
            expectProblem(try await client.call(.get, "/api/v1/apps/demo/logs?source=cellar"), 400)
        }
    }

    @Test func plainHTTPBeyondLoopbackIsRefused() throws {
        #expect(throws: PaaSError.self) { try World(environment: ["PAAS_API_ADDRESS": "0.0.0.0:7070"]) }
        _ = try World(environment: ["PAAS_API_ADDRESS": "0.0.0.0:7070", "PAAS_API_PLAINTEXT": "1"])
        _ = try World(environment: ["PAAS_API_ADDRESS": "[::1]:7070"])
    }
}
