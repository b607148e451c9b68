import Domain
import Glibc
import OS
import Testing

@testable import Git

@Suite struct UpkeepTests {
    let app = AppID.random()

    private func upkeep(_ fixture: GitFixture, packs: Int = 3, kept: String = "2.weeks.ago", busy: Bool = false)
        -> Upkeep
    {
        var plan = Upkeep.Plan()
        plan.packs = packs
        plan.keptTime = kept
        return Upkeep(repositories: fixture.settings.repositoriesDirectory, plan: plan, isBusy: { busy }) { line in
            Issue.record("\(line)")
        }
    }

    private func packs(_ fixture: GitFixture) throws -> Int {
        try Files.list(fixture.repository(app) + "/objects/pack").count { $0.hasSuffix(".pack") }
    }

    /// Pushes so many commits, a pack each; the last ones of two branches.
    private func pushes(_ count: Int, _ fixture: GitFixture) async throws -> [String] {
        try await fixture.client.create(app: app)
        let work = try await fixture.commit(["a": "0"])
        var old = PushCommand.zero, tips: [String] = []
        for number in 0..<count {
            try await fixture.git(["commit", "-q", "--allow-empty", "-m", "\(number)"], in: work)
            let tip = try await fixture.git(["rev-parse", "HEAD"], in: work)
            let reply = try await fixture.serve(
                app,
                GitFixture.request([PushCommand(ref: "refs/heads/main", old: old, new: tip)])
                    + fixture.pack(tip, in: work))
            #expect(reply.contains("ok refs/heads/main"), "\(reply)")
            old = tip
            tips.append(tip)
        }
        return tips
    }

    @Test func manyPacksBecomeOneAndNothingThatIsNeededIsLost() async throws {
        let fixture = try GitFixture()
        let tips = try await pushes(6, fixture)
        #expect(try packs(fixture) == 6)
        // Pinned, but no longer on a branch; and on neither.
        let first = try #require(tips.first), build = BuildID.random()
        let client = fixture.client
        let pinned = try await fixture.push(["pinned": "1"], to: app, branch: "gone")
        try await client.pin(app: app, build: build, commit: pinned)
        let loose = try await fixture.push(["loose": "1"], to: app, branch: "lost")
        for branch in ["gone", "lost"] {
            try await fixture.git(["update-ref", "-d", "refs/heads/\(branch)"], in: fixture.repository(app))
        }
        upkeep(fixture, busy: true).look()
        #expect(try packs(fixture) > 3)
        upkeep(fixture).look()
        #expect(try packs(fixture) <= 2)
        for commit in [first, pinned, loose] { _ = try await client.commitInfo(app: app, commit: commit) }
        let target = fixture.root + "/target"
        try Files.makeDirectories(target)
        try await client.checkout(app: app, commit: pinned, into: target, limitBytes: 1 << 20, keeping: nil)
        #expect(try Files.list(target) == ["pinned"])
        try await fixture.git(["fsck", "--strict", "--connectivity-only"], in: fixture.repository(app))
        // After its time only what a ref leads to is left.
        upkeep(fixture, packs: 0, kept: "now").look()
        _ = try await client.commitInfo(app: app, commit: pinned)
        let app = app
        let error = await #expect(throws: PaaSError.self) { try await client.commitInfo(app: app, commit: loose) }
        #expect(error?.code == .notFound)
    }

    @Test func pushesCheckoutsAndPackingGoOnSideBySide() async throws {
        var limits = GitLimits()
        limits.upkeep.packs = 1
        limits.upkeep.pauseSeconds = 0.005
        let fixture = try GitFixture(limits)
        _ = try await pushes(4, fixture)
        let client = fixture.client
        let work = try await fixture.commit(["b": "0"])
        var old = PushCommand.zero
        for number in 0..<8 {
            try Files.writeDurably(work + "/b", "now \(number)".utf8)
            try await fixture.git(["commit", "-q", "-am", "\(number)"], in: work)
            let tip = try await fixture.git(["rev-parse", "HEAD"], in: work)
            let reply = try await fixture.serve(
                app,
                GitFixture.request([PushCommand(ref: "refs/heads/side", old: old, new: tip)])
                    + fixture.pack(tip, in: work))
            #expect(reply.contains("ok refs/heads/side"), "\(reply)")
            old = tip
            let target = "\(fixture.root)/target-\(number)"
            try Files.makeDirectories(target)
            try await client.checkout(app: app, commit: tip, into: target, limitBytes: 1 << 20, keeping: nil)
            #expect(try Files.read(target + "/b") == Array("now \(number)".utf8))
        }
        try await eventually("all is packed together") { try packs(fixture) == 1 }
        try await fixture.git(["fsck", "--connectivity-only"], in: fixture.repository(app))
    }

    @Test func workOnARepositoryEndsItsPackingAtOnce() async throws {
        let fixture = try GitFixture()
        _ = try await pushes(3, fixture)
        // Large enough to take a while.
        let work = try await fixture.commit(["c": "1"])
        for number in 0..<3 {
            let tip = try await fixture.large(6 << 20, in: work)
            try await fixture.git(
                ["push", "-q", fixture.repository(app), "\(tip):refs/heads/large\(number)"], in: work)
        }
        let upkeep = upkeep(fixture, packs: 1)
        let packing = Task.detached {
            await withCheckedContinuation { continuation in
                OS.Thread.start("test-upkeep") {
                    upkeep.look()
                    continuation.resume()
                }
            }
        }
        let path = fixture.repository(app)
        try await eventually("the packing begins") { Files.exists(path + "/gc.pid") }
        let start = Monotonic.now()
        upkeep.around(app) {
            #expect(Monotonic.now() - start < 2)
            #expect(!Files.exists(path + "/gc.pid"))
            #expect(
                (try? Files.list(path + "/objects/pack").contains { $0.hasPrefix("tmp_") || $0.hasPrefix(".tmp-") })
                    == false)
        }
        await packing.value
        try await fixture.git(["fsck", "--connectivity-only"], in: path)
        upkeep.look()
        #expect(try packs(fixture) == 1)
    }
}
