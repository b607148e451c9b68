import API
import AsyncHTTPClient
import Domain
import FoundationEssentials
import Hummingbird
import HummingbirdTesting
import NIOCore
import NIOHTTP1
import ServiceLifecycle
import Synchronization
import Telemetry
import Testing

@Suite struct StreamTests {
    /// A request on a connection of its own. A client that keeps connections may open one more than it needs, and the server
    /// that ends meanwhile would trap on it (NIO: "Deinited NIOAsyncWriter").
    static func request(_ url: String) -> HTTPClientRequest {
        var request = HTTPClientRequest(url: url)
        request.headers.add(name: "Connection", value: "close")
        return request
    }

    /// Reads lines of an endless reply until `enough` says so.
    static func lines(
        _ url: String, headers: [String: String] = [:], until enough: (String) async throws -> Bool
    ) async throws {
        var request = Self.request(url)
        request.headers.add(name: "Authorization", value: "Bearer admin")
        for (name, value) in headers { request.headers.replaceOrAdd(name: name, value: value) }
        let response = try await HTTPClient.shared.execute(request, timeout: .seconds(20))
        #expect(response.status == .ok)
        var rest: [UInt8] = []
        for try await buffer in response.body {
            for byte in buffer.readableBytesView {
                guard byte == 10 else {
                    rest.append(byte)
                    continue
                }
                if try await enough(String(decoding: rest, as: UTF8.self)) { return }
                rest = []
            }
        }
        Issue.record("the stream ended early")
    }

    static func event(_ id: Int64) -> Event {
        Event(
            id: id, time: FakeStore.time, kind: "release.current", app: "demo", space: nil, actor: "admin",
            data: ["version": "\(id)"])
    }

    @Test func eventsResumeBehindTheLastSeen() async throws {
        let world = try World()
        world.store.state.withLock { $0.events = [Self.event(1), Self.event(2), Self.event(3)] }
        try await world.server.publicApplication().test(.live) { client in
            let port = try #require(client.port)
            let url = "http://localhost:\(port)/api/v1/events"
            var ids: [String] = []
            try await Self.lines(url, headers: ["Accept": "text/event-stream", "Last-Event-ID": "1"]) { line in
                if line.hasPrefix("id: "), line != "id: 1" { ids.append(line) }
                // What happens while the stream is open comes too.
                if ids.count == 2, line.isEmpty {
                    world.store.state.withLock { if $0.events.count == 3 { $0.events.append(Self.event(4)) } }
                }
                return ids.count == 3
            }
            #expect(ids == ["id: 2", "id: 3", "id: 4"])
            // Without a place to resume from it starts with what happens next.
            var first = ""
            try await Self.lines(url, headers: ["Accept": "text/event-stream"]) { line in
                world.store.state.withLock { if $0.events.count == 4 { $0.events.append(Self.event(5)) } }
                first = line
                return line.hasPrefix("id: ") && line != "id: 4"
            }
            #expect(first == "id: 5")
            let list = try await client.call(.get, "/api/v1/events?after=3")
            #expect(list.json.arrayValue?.count == 2)
            #expect(try await client.call(.get, "/api/v1/events?tail=1").json.arrayValue?.first?["id"] == .integer(5))
            expectProblem(
                try await client.call(
                    .get, "/api/v1/events", headers: ["Accept": "text/event-stream", "Last-Event-ID": "x"]), 400)
        }
    }

    @Test func aStreamOutlivesADatabaseThatIsAwayForAMoment() async throws {
        let world = try World()
        try await world.server.publicApplication().test(.live) { client in
            let port = try #require(client.port)
            var sawFirst = false
            try await Self.lines("http://localhost:\(port)/api/v1/events", headers: ["Accept": "text/event-stream"]) {
                line in
                if !sawFirst {
                    sawFirst = true
                    world.store.state.withLock { $0.isAway = true }
                    try await Task.sleep(for: .milliseconds(600))
                    world.store.state.withLock {
                        $0.isAway = false
                        $0.events.append(Self.event(1))
                    }
                }
                return line == "id: 1"
            }
        }
    }

    /// The items of a stream until it ends by itself.
    static func whole(_ url: String, headers: [String: String], each: (String) async throws -> Void) async throws {
        var request = HTTPClientRequest(url: url)
        for (name, value) in ["Authorization": "Bearer admin"].merging(headers, uniquingKeysWith: { $1 }) {
            request.headers.add(name: name, value: value)
        }
        request.headers.add(name: "Connection", value: "close")
        let response = try await HTTPClient.shared.execute(request, timeout: .seconds(20))
        var rest: [UInt8] = []
        for try await buffer in response.body {
            for byte in buffer.readableBytesView {
                if byte != 10 {
                    rest.append(byte)
                    continue
                }
                try await each(String(decoding: rest, as: UTF8.self))
                rest = []
            }
        }
    }

    @Test(arguments: ["events", "events?app=demo", "apps/demo/logs?follow=1", "apps/demo/builds/1/log?follow=1"])
    func aStreamEndsWithItsToken(_ path: String) async throws {
        let world = try World()
        let (log, lines) = AsyncThrowingStream.makeStream(of: String.self)
        world.builds.streams.withLock { $0 = [log] }
        lines.yield("-----> still building")
        try world.addBuild()
        try await world.server.publicApplication().test(.live) { client in
            let port = try #require(client.port)
            var seen: [String] = []
            let headers = ["Accept": "text/event-stream", "Authorization": "Bearer developer"]
            try await Self.whole("http://localhost:\(port)/api/v1/\(path)", headers: headers) { line in
                seen.append(line)
                world.store.state.withLock { $0.principals[SecretText.hash("developer")] = nil }
            }
            #expect(seen.contains("event: error"))
            #expect(seen.contains { $0.hasPrefix("data: ") && $0.contains("\"status\":401") }, "\(seen)")
        }
    }

    @Test func theLogOfAnAppThatIsGoneEnds() async throws {
        let world = try World()
        try await world.server.publicApplication().test(.live) { client in
            let url = "http://localhost:\(try #require(client.port))/api/v1/apps/demo/logs?follow=1&tail=1"
            var last = ""
            // Gone, then made again under its name.
            try await Self.whole(url, headers: [:]) { line in
                last = line
                world.store.state.withLock { $0.apps["demo"] = nil }
            }
            #expect(last.contains("\"status\":404"))
            world.store.state.withLock { $0.apps["demo"] = World.app("demo") }
            try await Self.whole(url, headers: [:]) { line in
                last = line
                world.store.state.withLock { $0.apps["demo"] = World.app("demo") }
            }
            #expect(last.contains("made again"))
        }
    }

    @Test func aLogIsResumedBehindTheLastLineWhateverTheTail() async throws {
        let world = try World()
        let app = try #require(world.store.state.withLock { $0.apps["demo"]?.id })
        @Sendable func line(_ text: String) -> LogLine {
            LogLine(time: FakeStore.time.adding(seconds: 60), source: .platform, process: "web.1", text: text)
        }
        world.lines.append(app: app, line("before"))
        try await world.server.publicApplication().test(.live) { client in
            let url = "http://localhost:\(try #require(client.port))/api/v1/apps/demo/logs?follow=1&tail=0"
            var id = ""
            try await Self.lines(url, headers: ["Accept": "text/event-stream"]) { line in
                if line.hasPrefix("id: ") { id = String(line.dropFirst(4)) }
                return line.isEmpty
            }
            // The connection was lost; something happened meanwhile.
            world.lines.append(app: app, line("meanwhile"))
            var data = ""
            try await Self.lines(url, headers: ["Accept": "text/event-stream", "Last-Event-ID": id]) { line in
                if line.hasPrefix("data: ") { data = line }
                return !data.isEmpty
            }
            #expect(data.contains("meanwhile"))
        }
        await world.lines.remove(app: app)
    }

    @Test func buildLogsComeInThreeForms() async throws {
        let world = try World()
        try world.addBuild()
        try await world.server.publicApplication().test(.router) { client in
            let path = "/api/v1/apps/demo/builds/1/log"
            #expect(try await client.call(.get, path).text == "-----> Python app detected\n       done\n")
            let lines = try await client.call(.get, path, headers: ["Accept": "application/x-ndjson"])
            #expect(lines.text == "{\"text\":\"-----> Python app detected\"}\n{\"text\":\"       done\"}\n")
            let events = ["Accept": "text/event-stream", "Last-Event-ID": "1"]
            let rest = try await client.call(.get, path + "?follow=1", headers: events)
            #expect(
                rest.text == "id: 2\ndata: {\"text\":\"       done\"}\n\nevent: end\ndata: {}\n\n")
            expectProblem(try await client.call(.get, path, headers: ["Last-Event-ID": "x"]), 400)
        }
    }

    @Test func aBuildLogThatIsInterruptedHasNoEndSoThatItIsFollowedFurther() async throws {
        let world = try World()
        try world.addBuild()
        @Sendable func interrupted() -> AsyncThrowingStream<String, any Error> {
            AsyncThrowingStream { continuation in
                continuation.yield("one")
                continuation.finish(throwing: PaaSError(.unavailable, "interrupted; ask again"))
            }
        }
        try await world.server.publicApplication().test(.router) { client in
            let path = "/api/v1/apps/demo/builds/1/log?follow=1"
            world.builds.streams.withLock { $0 = [interrupted(), interrupted()] }
            let events = try await client.call(.get, path, headers: ["Accept": "text/event-stream"])
            #expect(events.text == "id: 1\ndata: {\"text\":\"one\"}\n\n")
            #expect(try await client.call(.get, path).text.contains("the log ended early: interrupted; ask again"))
        }
    }

    @Test func routersGetASnapshotThenChangesAndAcknowledge() async throws {
        let directory = "/tmp/slipway-table-\(UInt32.random(in: 0...UInt32.max))"
        let path = try Settings(environment: ["PAAS_RUN_DIR": directory], file: "").tableSocket
        let parent = String(path.prefix(upTo: try #require(path.lastIndex(of: "/"))))
        try FileManager.default.createDirectory(atPath: parent, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(atPath: directory) }
        let world = try World(environment: ["PAAS_RUN_DIR": directory])
        let (running, isRunning) = AsyncStream.makeStream(of: Void.self)
        let application = world.server.routingApplication { isRunning.yield() }
        let task = Task {
            do {
                try await application.run()
            } catch {
                Issue.record("\(error)")
                isRunning.finish()
            }
        }
        defer { task.cancel() }
        for await _ in running { break }
        let socket = path.split(separator: "/").map { "%2F\($0)" }.joined()
        let binding = BindingID.random()
        var messages: [RoutingMessage] = []
        try await Self.lines("http+unix://\(socket)/v1/table?router=r1") { line in
            messages.append(try JSONDecoder().decode(RoutingMessage.self, from: Data(line.utf8)))
            if messages.count == 1 {
                #expect(world.feed.state.withLock { $0.connected } == ["r1"])
                let route = RoutingTable.Route(
                    binding: binding, app: "demo", name: "web", protocol: .tcp, publicPort: 20000, backends: [])
                world.feed.set(
                    RoutingTable(mark: .init(tableID: "t", revision: 2, bootID: "b"), routes: [route]))
            }
            return messages.last == .keepAlive
        }
        #expect(messages.count >= 3)
        guard case .snapshot(let table) = messages[0] else {
            Issue.record("the first message is no snapshot")
            return
        }
        let after = try #require(table.applying(messages[1]))
        #expect(after == world.feed.state.withLock { $0.table })
        #expect(after.routes.map(\.binding) == [binding])

        var request = Self.request("http+unix://\(socket)/v1/routers/r1/ack")
        request.method = .POST
        let acknowledgement = RouterAcknowledgement(mark: after.mark, draining: [:], failed: [])
        request.body = .bytes(ByteBuffer(bytes: try JSONEncoder().encode(acknowledgement)))
        let reply = try await HTTPClient.shared.execute(request, timeout: .seconds(5))
        #expect(reply.status == .noContent)
        #expect(world.feed.state.withLock { $0.acknowledged } == ["r1"])
        let wrong = Self.request("http+unix://\(socket)/v1/table?router=..%2Fx")
        #expect(try await HTTPClient.shared.execute(wrong, timeout: .seconds(5)).status == .badRequest)
    }
}
