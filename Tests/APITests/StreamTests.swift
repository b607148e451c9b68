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
                if line.hasPrefix("id: ") { ids.append(line) }
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
                return line.hasPrefix("id: ")
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
