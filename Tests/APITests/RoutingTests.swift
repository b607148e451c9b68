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

@Suite struct RoutingTests {
    /// A router that hangs would else hold up every change of the table for ever.
    @Test func aRouterThatAcknowledgesNothingIsDisconnected() async throws {
        let feed = FakeFeed()
        let application = Application(
            responder: RoutingResponder(feed: feed, keepAlive: .milliseconds(20), patience: .seconds(1)),
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
            #expect(ContinuousClock.now - lastAcknowledgement >= .seconds(1))
            while !feed.state.withLock({ $0.connected.isEmpty }) { try await Task.sleep(for: .milliseconds(5)) }
        }
    }
}
