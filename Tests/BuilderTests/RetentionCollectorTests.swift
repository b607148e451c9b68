import Domain
import Synchronization
import Testing

@testable import Builder

/// The removal of what the store says is not needed.
@Suite struct RetentionCollectorTests {
    /// What a store says.
    private final class Rows: RetentionStore {
        struct State {
            var unneeded: Set<SlugDigest> = []
            var needed: Set<SlugDigest> = []
            var pins: Set<BuildID> = []
            var logs: Set<BuildID> = []
            var idle: Set<AppID> = []
        }
        let state = Mutex(State())

        func unneededSlugs(_ rules: RetentionRules, limit: Int, now: Timestamp) async throws(PaaSError)
            -> [SlugDigest]
        { state.withLock { Array($0.unneeded) } }
        func retireSlug(_ digest: SlugDigest, _ rules: RetentionRules, now: Timestamp) async throws(PaaSError)
            -> Int64?
        { state.withLock { $0.unneeded.remove(digest) == nil || $0.needed.contains(digest) ? nil : 9 } }
        func slugsWithFile() async throws(PaaSError) -> Set<SlugDigest> {
            state.withLock { $0.unneeded.union($0.needed) }
        }
        func slugTotals() async throws(PaaSError) -> SlugTotals { SlugTotals(count: 1, imageBytes: 2) }
        func unneededPins(_ app: AppID, _ rules: RetentionRules, now: Timestamp) async throws(PaaSError) -> Set<BuildID>
        { state.withLock { $0.pins } }
        func expiredLogs(_ rules: RetentionRules, now: Timestamp) async throws(PaaSError) -> Set<BuildID> {
            state.withLock { $0.logs }
        }
        func appsWithIdleCache(_ rules: RetentionRules, now: Timestamp) async throws(PaaSError) -> Set<AppID> {
            state.withLock { $0.idle }
        }
    }

    private func digest(_ letter: String) throws -> SlugDigest {
        try #require(SlugDigest(hex: String(repeating: letter, count: 64)))
    }

    private func collector(_ bench: Bench, _ rows: Rows) throws -> (
        RetentionCollector, FakePaasd
    ) {
        let paasd = FakePaasd(bench.world)
        return (
            RetentionCollector(
                parts: try bench.parts(paasd), store: rows), paasd
        )
    }

    @Test func whatIsNotNeededGoesAndNothingElse() async throws {
        let bench = Bench(), rows = Rows()
        let (old, kept, used) = (try digest("1"), try digest("2"), try digest("3"))
        let (pin, log, other) = (BuildID.random(), BuildID.random(), BuildID.random())
        let gone = AppID.random(), app = bench.world.app.id
        bench.world.with { world in
            world.slugFiles = [old, kept, used]
            world.slugsInUse = [used]
            world.pins = [pin, other]
            world.caches = [app, gone]
        }
        rows.state.withLock { rows in
            rows.unneeded = [old, used]
            rows.needed = [kept]
            rows.pins = [pin]
            rows.logs = [log, BuildID.random()]
        }
        try await bench.log.append(log, ["a"], cursor: nil)
        try await bench.log.append(other, ["b"], cursor: nil)
        let (collector, _) = try collector(bench, rows)
        await collector.collect()
        bench.world.with { world in
            #expect(world.slugFiles == [kept, used])
            #expect(world.pins == [other])
            #expect(world.caches == [app], "the other app is gone")
        }
        #expect(try await bench.log.list() == [other])
        let counts = collector.counts
        #expect(counts.slugsRemoved == 1 && counts.slugBytesFreed == 9 && counts.logsRemoved == 1)
        #expect(counts.cachesRemoved == 1 && counts.cacheBytesFreed == 7 && counts.pinsRemoved == 1)
        #expect(counts.slugs == SlugTotals(count: 1, imageBytes: 2) && counts.lastRun != nil)
        // The one that was in use goes when it no longer is; a file has to be without a row at two looks.
        bench.world.with { $0.slugsInUse = [] }
        rows.state.withLock { $0.idle = [app] }
        await collector.collect()
        bench.world.with { #expect($0.slugFiles == [kept] && $0.caches.isEmpty) }
    }

    @Test func aPartThatIsAwayKeepsTheOthersFromNothing() async throws {
        let bench = Bench(), rows = Rows()
        let old = try digest("1")
        bench.world.with { world in
            world.slugFiles = [old]
            world.away = ["listCaches", "list"]
        }
        rows.state.withLock { $0.unneeded = [old] }
        let (collector, _) = try collector(bench, rows)
        await collector.collect()
        #expect(bench.world.with { $0.slugFiles.isEmpty })
        #expect(collector.counts.lastRun != nil)
    }

    @Test func aSlugWhoseFileGoesMeanwhileIsPackedAgain() async throws {
        let bench = Bench()
        bench.world.with { $0.slugFilesToLose = 1 }
        let decisions = try await bench.running { _, service, _ in await bench.push(service).decisions }
        #expect(decisions == ["refs/heads/main": .moved])
        bench.world.with { world in
            #expect(world.calls["packSlug"] == 2 && world.slugFiles.count == 1)
        }
        let other = Bench()
        other.world.with { $0.slugFilesToLose = 9 }
        let refused = try await other.running { _, service, _ in await other.push(service).decisions }
        #expect(refused == ["refs/heads/main": .refuse("build 1 failed")])
        #expect(other.world.with { $0.slugRows.isEmpty }, "no row tells of a file that is not there")
    }

    @Test func filesOfADeletedAppGoUnlessABuildTookThem() async throws {
        let bench = Bench(), lock = SlugLock()
        let (gone, taken) = (try digest("1"), try digest("2"))
        let paasd = FakePaasd(bench.world)
        bench.world.with { $0.slugFiles = [gone, taken] }
        // A build that is just taking one is waited for.
        let removal = try await lock.withLock { () async throws(PaaSError) in
            let removal = Task {
                try await lock.removeFiles(of: [gone, taken], store: paasd, engine: paasd, epoch: 1)
            }
            for _ in 0..<20 { await Task.yield() }
            bench.world.with { world in
                #expect(world.slugFiles == [gone, taken])
                world.slugRows = [taken]
            }
            return removal
        }
        try await removal.value
        #expect(bench.world.with { $0.slugFiles } == [taken])
    }

    private actor Inside {
        private var now = 0
        private(set) var most = 0
        func enter() {
            now += 1
            most = max(most, now)
        }
        func leave() { now -= 1 }
    }

    @Test func theLockIsHeldByOneAtATime() async throws {
        let lock = SlugLock(), inside = Inside()
        await withTaskGroup(of: Void.self) { group in
            for _ in 0..<50 {
                group.addTask {
                    _ = try? await lock.withLock { () async throws(PaaSError) in
                        await inside.enter()
                        await Task.yield()
                        await inside.leave()
                    }
                }
            }
        }
        #expect(await inside.most == 1)
    }
}
