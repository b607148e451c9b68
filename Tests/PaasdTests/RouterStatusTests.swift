import API
import Domain
import Synchronization
import Testing

@testable import paasd

@Suite struct RouterStatusTests {
    private static func mark(_ revision: Int64, _ table: String = "t") -> RoutingTable.Mark {
        RoutingTable.Mark(tableID: table, revision: revision, bootID: "b")
    }

    private func component(_ seen: [String: RouterStatus.Seen], recorded: [String] = []) async -> ComponentStatus {
        await RouterStatus(
            seen: { seen }, newest: { () async throws(PaaSError) in Self.mark(5) },
            recorded: { () async throws(PaaSError) in recorded }, patience: .milliseconds(100)
        ).component()
    }

    @Test func aRouterIsUpOnlyWhileItFollowsAndServesTheNewestTable() async {
        let up = RouterStatus.Seen(isConnected: true, mark: Self.mark(5))
        let away = RouterStatus.Seen(isConnected: false, mark: Self.mark(5))
        #expect(await component([:]).state == .down)
        #expect(await component([:], recorded: ["a"]).state == .down)
        #expect(await component(["a": away], recorded: ["a"]).state == .down)
        #expect(await component(["a": up], recorded: ["a"]).state == .up)
        let one = await component(["a": up, "b": away], recorded: ["a", "b", "c"])
        #expect(one.state == .degraded && one.detail == "b, c are away")
        for mark in [nil, Self.mark(4), Self.mark(9, "other")] {
            let behind = await component(["a": RouterStatus.Seen(isConnected: true, mark: mark)])
            #expect(behind.state == .degraded && behind.detail == "a is behind the newest table")
        }
    }

    @Test func aRouterThatIsJustTakingANewTableIsUp() async {
        let looks = Mutex(0)
        let status = RouterStatus(
            seen: {
                let look = looks.withLock { looks in
                    looks += 1
                    return looks
                }
                return ["a": RouterStatus.Seen(isConnected: true, mark: Self.mark(look < 3 ? 4 : 5))]
            }, newest: { () async throws(PaaSError) in Self.mark(5) },
            recorded: { () async throws(PaaSError) in ["a"] }, patience: .seconds(60))
        #expect(await status.component().state == .up)
    }

    @Test func withoutTheDatabaseTheConnectionIsWhatCounts() async {
        let away = PaaSError(.unavailable, "database is not reachable; retry")
        let status = RouterStatus(
            seen: { ["a": RouterStatus.Seen(isConnected: true, mark: nil)] },
            newest: { () async throws(PaaSError) in throw away },
            recorded: { () async throws(PaaSError) in throw away })
        let component = await status.component()
        #expect(component.state == .up && component.detail?.contains("can't be read") == true)
    }
}
