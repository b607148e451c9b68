import AsyncHTTPClient
import Domain
import FoundationEssentials
import Hummingbird
import HummingbirdTesting
import NIOCore
import NIOHTTP1
import Synchronization
import Testing

@testable import API

@Suite(.timeLimit(.minutes(1))) struct RoutingTests {
    /// A router that hangs would else hold up every change of the table for ever.
    @Test func aRouterThatAcknowledgesNothingIsDisconnected() async throws {
        let feed = FakeFeed()
        let application = Application(
            responder: RoutingResponder(feed: feed, keepAlive: .milliseconds(20), patience: .seconds(3)),
            configuration: ApplicationConfiguration(address: .hostname("127.0.0.1", port: 0)))
        try await application.test(.live) { client in
            let base = "http://localhost:\(try #require(client.port))/v1"
            let request = HTTPClientRequest(url: base + "/table?router=r1")
            let response = try await HTTPClient.shared.execute(request, timeout: .seconds(20))
            let opened = ContinuousClock.now
            var lastAcknowledgement = opened
            // It repeats its acknowledgement three times, then hangs.
            for try await _ in response.body {
                let now = ContinuousClock.now
                guard feed.state.withLock({ $0.acknowledged.count }) < 3,
                    now - lastAcknowledgement > .milliseconds(200)
                else { continue }
                lastAcknowledgement = now
                var post = HTTPClientRequest(url: base + "/routers/r1/ack")
                post.method = .POST
                let mark = feed.state.withLock { $0.table.mark }
                post.body = .bytes(
                    ByteBuffer(
                        bytes: try JSONEncoder().encode(RouterAcknowledgement(mark: mark, draining: [:], failed: []))))
                #expect(try await HTTPClient.shared.execute(post, timeout: .seconds(20)).status == .noContent)
            }
            #expect(feed.state.withLock { $0.acknowledged.count } == 3)
            #expect(ContinuousClock.now - lastAcknowledgement >= .seconds(3))
            while !feed.state.withLock({ $0.connected.isEmpty }) { try await Task.sleep(for: .milliseconds(5)) }
        }
    }

    /// The whole table is read when it has changed, not at each keep-alive.
    @Test func theTableIsReadWhenItChanged() async throws {
        let feed = FakeFeed()
        let application = Application(
            responder: RoutingResponder(feed: feed, keepAlive: .milliseconds(10)),
            configuration: ApplicationConfiguration(address: .hostname("127.0.0.1", port: 0)))
        try await application.test(.live) { client in
            let url = "http://localhost:\(try #require(client.port))/v1/table?router=r1"
            var messages = 0
            try await StreamTests.lines(url) { _ in
                messages += 1
                return messages == 10
            }
            #expect(feed.state.withLock { $0.reads } == 1)
        }
    }

    @Test func reportsOfFlowsAreTaken() async throws {
        let feed = FakeFeed()
        let application = Application(
            responder: RoutingResponder(feed: feed),
            configuration: ApplicationConfiguration(address: .hostname("127.0.0.1", port: 0)))
        let report = FlowReport(
            binding: .random(), port: "web", endings: ["completed": 2, "connect_failed": 1], connectFailures: 1,
            lastConnectError: "web.1: connection refused")
        try await application.test(.live) { client in
            let body = ByteBuffer(bytes: try JSONEncoder().encode([report]))
            try await client.execute(uri: "/v1/routers/r1/flows", method: .post, body: body) {
                #expect($0.status == .noContent)
            }
            try await client.execute(uri: "/v1/routers/r1/flows", method: .post, body: ByteBuffer(string: "{}")) {
                #expect($0.status == .badRequest)
            }
            try await client.execute(uri: "/v1/routers/r1/flows", method: .get) {
                #expect($0.status == .methodNotAllowed)
            }
        }
        #expect(feed.state.withLock { $0.reports } == [report])
    }
}
