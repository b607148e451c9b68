import Domain
import Postgres
import Store
import Testing

/// What may go, and what never goes.
@Suite struct RetentionTests {
    private let rules = RetentionRules(releases: 2, buildLogs: 2, logDays: 1, cacheDays: 0, graceSeconds: 0)

    private func digests(_ numbers: Int...) throws -> [SlugDigest] { try numbers.map { try Harness.slug($0).digest } }

    @Test func whatARollbackCanReachStays() async throws {
        try await Harness.run { h in
            let app = try await h.app("keeps")
            for number in 1...5 { try await h.deploy(app, slug: number) }
            let now = { h.now().adding(seconds: 10) }
            #expect(try await h.store.unneededSlugs(rules, limit: 10, now: now()) == digests(1, 2, 3))
            // v2 again: its slug is current now, and v5 is what a rollback without a number goes back to.
            let back = try await h.store.rollback(app.id, to: 2, actor: h.admin, now: h.now()).release
            try await h.rollOut(app, back.version)
            #expect(try await h.store.unneededSlugs(rules, limit: 10, now: now()) == digests(1, 3))
            for number in 7...9 {
                // None of them becomes current.
                let release = try #require(try await h.push(app, slug: number).release)
                try await h.store.markRolling(app.id, version: release.version, epoch: h.epoch, now: h.now())
                try await h.store.markReleaseFailed(
                    app.id, version: release.version, output: "no", epoch: h.epoch, now: h.now())
            }
            #expect(
                try await h.store.unneededSlugs(rules, limit: 10, now: now()) == digests(1, 3, 4, 7),
                "the current one and the one before it stay, however many came after them")
            // What a process runs stays, too.
            _ = try await h.plan(app, release: 3)
            #expect(try await h.store.unneededSlugs(rules, limit: 10, now: now()) == digests(1, 4, 7))
            // The young stay.
            var patient = rules
            patient.graceSeconds = 86_400
            #expect(try await h.store.unneededSlugs(patient, limit: 10, now: now()).isEmpty)
        }
    }

    @Test func aSlugOfAnotherAppOrOfAYoungBuildStays() async throws {
        try await Harness.run { h in
            let one = try await h.app("one"), other = try await h.app("other")
            for number in 1...4 { try await h.deploy(one, slug: number) }
            let now = { h.now().adding(seconds: 10) }
            let first = try Harness.slug(1).digest
            #expect(try await h.store.unneededSlugs(rules, limit: 10, now: now()).contains(first))
            // An equal tree of another app.
            let build = try await h.openBuild(other)
            try await h.store.startBuild(build.id, now: h.now())
            _ = try await h.store.recordSlug(
                Harness.slug(1), evidence: Harness.evidence(build), build: build.id)
            #expect(try await h.store.retireSlug(first, rules, now: now()) == nil)
            _ = try await h.store.completeBuild(
                build.id, slug: Harness.slug(1), portRange: Harness.range, now: h.now())
            #expect(try await h.store.retireSlug(first, rules, now: now()) == nil)
        }
    }

    @Test func aRetiredSlugIsRefusedAndComesBackWithABuild() async throws {
        try await Harness.run { h in
            let app = try await h.app("again")
            for number in 1...4 { try await h.deploy(app, slug: number) }
            let now = { h.now().adding(seconds: 10) }
            let first = try Harness.slug(1).digest
            #expect(try await h.store.slugTotals() == SlugTotals(count: 4, imageBytes: 20))
            #expect(try await h.store.billOfMaterials(first, for: h.admin) == Array("bill".utf8))
            #expect(try await h.store.retireSlug(first, rules, now: now()) == 5)
            #expect(try await h.store.billOfMaterials(first, for: h.admin) == nil)
            let info = try await h.store.slug(first, for: h.admin)
            #expect(info.removedAt != nil && info.provenance != nil && !info.hasBill)
            #expect(try await h.store.retireSlug(first, rules, now: now()) == nil, "it is gone already")
            #expect(try await h.store.slugTotals() == SlugTotals(count: 3, imageBytes: 15))
            #expect(try await !h.store.knownSlugs().contains(first))
            #expect(try await h.store.release(app.id, version: 1).slugRemoved)
            #expect(
                try await h.store.releases(app.id, limit: 9, before: nil).map(\.slugRemoved) == [
                    false, false, false, true,
                ])
            let refused = await #expect(throws: PaaSError.self) {
                try await h.store.rollback(app.id, to: 1, actor: h.admin, now: h.now())
            }
            #expect(refused?.code == .conflict)
            #expect(refused?.message.contains("v1 is no longer kept") == true)
            await #expect(throws: PaaSError.self) {
                try await h.store.release(app.id, slug: first, actor: h.admin, now: h.now())
            }
            try await h.deploy(app, slug: 1)
            #expect(try await !h.store.release(app.id, version: 1).slugRemoved)
            _ = try await h.store.rollback(app.id, to: 1, actor: h.admin, now: h.now())
        }
    }

    @Test func aRollbackAndTheRemovalOfItsSlugExcludeEachOther() async throws {
        try await Harness.run { h in
            for round in 0..<12 {
                let app = try await h.app("race-\(round)")
                let base = 100 + round * 10
                for number in 1...4 { try await h.deploy(app, slug: base + number) }
                let digest = try Harness.slug(base + 1).digest
                let later = h.now().adding(seconds: 10), now = h.now(), rules = rules, store = h.store, admin = h.admin
                async let retired = store.retireSlug(digest, rules, now: later)
                async let release = try? store.rollback(app.id, to: 1, actor: admin, now: now)
                let (gone, rolled) = (try await retired != nil, await release != nil)
                #expect(gone != rolled, "one of them, and only one")
                #expect(try await h.store.knownSlugs().contains(digest) == rolled)
            }
        }
    }

    @Test func commitsLogsAndCachesOfOldBuildsGo() async throws {
        try await Harness.run { h in
            let app = try await h.app("old")
            var builds: [BuildID] = []
            for number in 1...5 {
                let build = try await h.push(app, slug: number).build
                try await h.rollOut(app, number)
                try await h.store.markRefMoved(build.id)
                builds.append(build.id)
            }
            let failed = try await h.openBuild(app)
            try await h.store.failBuild(
                failed.id, state: .failed, error: ErrorReport(code: .appFailed, message: "no"), now: h.now())
            let now = { h.now().adding(seconds: 10) }
            // All have one commit, which kept releases were built from.
            #expect(try await h.store.unneededPins(app.id, rules, now: now()) == [failed.id])
            #expect(try await h.store.expiredLogs(rules, now: now()) == Set(builds.prefix(4)))
            #expect(try await h.store.appsWithIdleCache(rules, now: now()) == [app.id])
            let running = try await h.openBuild(app)
            #expect(try await h.store.appsWithIdleCache(rules, now: now()).isEmpty)
            #expect(try await !h.store.expiredLogs(rules, now: now().adding(seconds: 9e7)).contains(running.id))
        }
    }

    /// Their refs never move: nothing waits for their commits.
    @Test func commitsOfPushesThatCameToNothingGo() async throws {
        try await Harness.run { h in
            let app = try await h.app("old")
            func push(_ number: Int) async throws -> BuildID {
                let commit = String(repeating: "0", count: 38) + String(10 + number)
                return try await h.push(app, slug: number, commit: commit).build.id
            }
            let failed = try await push(1)
            try await h.store.markReleaseFailed(app.id, version: 1, output: "no", epoch: h.epoch, now: h.now())
            let superseded = try await push(2)
            // This one is current, but its ref has not moved yet.
            let waiting = try await push(3)
            try await h.rollOut(app, 3)
            for number in 4...7 {
                let build = try await push(number)
                try await h.rollOut(app, number)
                try await h.store.markRefMoved(build)
            }
            #expect(try await h.store.release(app.id, version: 2).state == .superseded)
            let unneeded = try await h.store.unneededPins(app.id, rules, now: h.now().adding(seconds: 10))
            #expect(unneeded.isSuperset(of: [failed, superseded]) && !unneeded.contains(waiting))
        }
    }
}
