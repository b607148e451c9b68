import Domain
import Store
import Testing

@Suite(.serialized) struct SlugTests {
    private static let commit = String(repeating: "a", count: 40)

    private func build(
        _ h: Harness, _ app: App, slug number: Int, bill: String? = nil, stack: String = "sha256:s", pins: [String] = []
    ) async throws -> (build: Build, comparison: Build.Comparison?) {
        let build = try await h.openBuild(app, kind: .commit)
        try await h.store.startBuild(build.id, now: h.now())
        try await h.store.recordReport(
            build.id, buildpacks: [.init(name: "python", commit: Self.commit)], commit: nil, pins: pins)
        let slug = try Harness.slug(number)
        let comparison = try await h.store.recordSlug(
            slug, evidence: Harness.evidence(build, bill: bill, stack: stack), build: build.id)
        _ = try await h.store.completeBuild(build.id, slug: slug, portRange: Harness.range, now: h.now())
        return (try await h.store.build(build.id), comparison)
    }

    @Test func aRebuildIsComparedWithTheNewestOfTheSameCommit() async throws {
        try await Harness.run { h in
            let app = try await h.app("alpha")
            let first = try await build(h, app, slug: 1)
            #expect(first.comparison == nil && first.build.comparison == nil)
            let digest = try Harness.slug(1).digest
            let second = try await build(h, app, slug: 1)
            #expect(second.comparison == Build.Comparison(build: 1, release: 1, slug: digest))
            #expect(second.build.comparison == second.comparison)
            let third = try await build(h, app, slug: 2, stack: "sha256:t")
            #expect(
                third.comparison
                    == Build.Comparison(build: 2, release: 2, slug: digest, differences: ["the stack debian-13"]))
            let other = try await h.app("beta")
            #expect(try await build(h, other, slug: 1).comparison == nil)
        }
    }

    @Test func whatIsKnownAboutASlugIsEachAppsOwn() async throws {
        try await Harness.run { h in
            let scoped = try await h.scoped("team")
            let mine = try await h.store.putApp(AppRequest(name: "mine"), actor: scoped, now: h.now()).app
            let theirs = try await h.app("theirs")
            let digest = try Harness.slug(1).digest
            let built = try await build(h, mine, slug: 1, bill: "mine").build
            _ = try await build(h, theirs, slug: 1, bill: "theirs")
            // The last user comes first, and only what may be seen.
            #expect(try await h.store.billOfMaterials(digest, for: scoped) == Array("mine".utf8))
            #expect(try await h.store.billOfMaterials(digest, for: h.admin) == Array("theirs".utf8))
            let seen = try await h.store.slug(digest, for: scoped)
            #expect(seen.uses == [.init(app: "mine", builds: [1], releases: [1])])
            #expect(seen.provenance?.build == built.id && seen.hasBill)
            #expect(try await h.store.slug(digest, for: h.admin).uses.map(\.app) == ["theirs", "mine"])
            #expect(try await h.store.provenance(built.id)?.limits.sourceBytes == 5)
            #expect(try await h.store.provenance(.random()) == nil)
            let list = try await h.store.slugs(mine.id, limit: 10)
            #expect(list.map(\.digest) == [digest] && list.first?.hasBill == true && list.first?.provenance == nil)

            _ = try await build(h, theirs, slug: 2)
            try await refused(.notFound) { try await h.store.slug(try Harness.slug(2).digest, for: scoped) }
            try await refused(.notFound) { try await h.store.billOfMaterials(try Harness.slug(2).digest, for: scoped) }
            #expect(try await h.store.billOfMaterials(try Harness.slug(2).digest, for: h.admin) == nil)
        }
    }

    @Test func aPromotionKeepsTheSlug() async throws {
        try await Harness.run { h in
            let (staging, shop) = (try await h.app("staging"), try await h.app("shop"))
            try await refused(.conflict) {
                try await h.store.promote(shop.id, from: "staging", actor: h.admin, now: h.now())
            }
            _ = try await build(h, staging, slug: 1, bill: "bill")
            try await h.rollOut(staging, 1)
            _ = try await h.set(shop, ["COLOUR": "red"])
            let made = try await h.store.promote(shop.id, from: "staging", actor: h.admin, now: h.now()).release
            let digest = try Harness.slug(1).digest
            #expect(made.version == 1 && made.slug == digest && made.commit == Self.commit)
            #expect(made.processTypes == ["web": "./server"] && made.configVersion == 1)
            #expect(made.description == "Promote staging v1")
            #expect(try await h.store.ports(shop.id).map(\.name) == ["web"])
            // What is known about it outlives the app that built it.
            _ = try await h.store.deleteApp(staging.id, actor: h.admin, now: h.now())
            #expect(try await h.store.removeApp(staging.id, epoch: h.epoch, now: h.now())?.slugs == [])
            let info = try await h.store.slug(made.slug, for: h.admin)
            #expect(info.uses == [.init(app: "shop", builds: [], releases: [1])] && info.provenance?.number == 1)
            #expect(try await h.store.billOfMaterials(made.slug, for: h.admin) == Array("bill".utf8))

            try await refused(.invalid) {
                try await h.store.promote(shop.id, from: "shop", actor: h.admin, now: h.now())
            }
            let scoped = try await h.scoped("team")
            let foreign = try await h.store.putApp(AppRequest(name: "foreign"), actor: scoped, now: h.now()).app
            try await refused(.notFound) {
                try await h.store.promote(foreign.id, from: "shop", actor: scoped, now: h.now())
            }
            try await h.rollOut(shop, 1)
            _ = try await h.store.patchApp(foreign.id, AppPatch(stack: "debian-12"), actor: scoped, now: h.now())
            let stacks = try await refused(.conflict) {
                try await h.store.promote(foreign.id, from: "shop", actor: h.admin, now: h.now())
            }
            #expect(stacks.message.contains("debian-12"))
        }
    }

    @Test func whatWasFoundIsPinnedOnceTheBuildHasSucceeded() async throws {
        try await Harness.run { h in
            let app = try await h.app("alpha")
            let failing = try await h.openBuild(app)
            try await h.store.recordReport(failing.id, buildpacks: [], commit: nil, pins: ["native"])
            try await h.store.failBuild(
                failing.id, state: .failed, error: ErrorReport(code: .appFailed, message: "no"), now: h.now())
            #expect(try await h.store.app(app.id).buildpacks.isEmpty)
            _ = try await build(h, app, slug: 1, pins: ["python"])
            #expect(try await h.store.app(app.id).buildpacks == ["python"])
            // A setting of the app stays.
            _ = try await build(h, app, slug: 2, pins: ["static"])
            #expect(try await h.store.app(app.id).buildpacks == ["python"])
            #expect(try await h.kinds("alpha").filter { $0 == "app.updated" }.count == 1)
        }
    }

    @Test func aFetchedSourceGetsItsCommit() async throws {
        try await Harness.run { h in
            let app = try await h.app("alpha")
            let request = BuildRequest(
                id: .random(), app: app.id, source: .init(kind: .git, ref: "v1", url: "https://h.example/x"),
                options: Build.Options(), createdBy: "admin")
            let build = try await h.store.createBuild(request, now: h.now())
            try await h.store.recordReport(build.id, buildpacks: [], commit: Self.commit, pins: [])
            let slug = try Harness.slug(1)
            _ = try await h.store.recordSlug(slug, evidence: Harness.evidence(build), build: build.id)
            let release = try await h.store.completeBuild(
                build.id, slug: slug, portRange: Harness.range, now: h.now())
            #expect(release?.commit == Self.commit && release?.description == "Deploy aaaaaaaa")
            let done = try await h.store.build(build.id)
            #expect(done.source.commit == Self.commit && done.source.url == "https://h.example/x")
            // What follows the release is still to come, also after a restart.
            #expect(!done.refMoved)
            try await h.rollOut(app, 1)
            #expect(try await h.store.buildsAwaitingRef().map(\.id) == [done.id])
            try await h.store.markRefMoved(done.id)
            #expect(try await h.store.buildsAwaitingRef().isEmpty)
            // A commit that was named stays.
            let named = try await h.openBuild(app, kind: .commit)
            try await h.store.recordReport(
                named.id, buildpacks: [], commit: String(repeating: "b", count: 40), pins: [])
            #expect(try await h.store.build(named.id).source.commit == Self.commit)
        }
    }
}
