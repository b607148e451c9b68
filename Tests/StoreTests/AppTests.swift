import Domain
import Store
import Testing

@Suite(.serialized) struct AppTests {
    @Test func putIsIdempotentAndRefusesWhatCantChange() async throws {
        try await Harness.run { h in
            let request = AppRequest(name: "alpha", labels: ["team": "core"], buildpacks: ["python"])
            let first = try await h.store.putApp(request, actor: h.admin, now: h.now())
            let again = try await h.store.putApp(request, actor: h.admin, now: h.now())
            #expect(first.created && !again.created)
            #expect(first.app == again.app)
            #expect(first.app.spaceName == "default" && first.app.stack == "debian-13")
            _ = try await h.store.putSpace(name: "other", actor: h.admin, now: h.now())
            for different in [
                AppRequest(name: "alpha", space: "other"), AppRequest(name: "alpha", noPorts: true),
                AppRequest(name: "alpha", stack: "debian-12"), AppRequest(name: "alpha", labels: ["team": "x"]),
            ] {
                try await refused(.conflict) {
                    try await h.store.putApp(different, actor: h.admin, now: h.now())
                }
            }
            try await refused(.notFound) {
                try await h.store.putApp(AppRequest(name: "beta", space: "nowhere"), actor: h.admin, now: h.now())
            }
            #expect(try await h.kinds() == ["app.created", "space.created"])
        }
    }

    @Test func namesArePlatformWideAndTellNobodyWhose() async throws {
        try await Harness.run { h in
            let a = try await h.scoped("team-a")
            let b = try await h.scoped("team-b")
            let app = try await h.store.putApp(AppRequest(name: "mine"), actor: a, now: h.now()).app
            #expect(app.spaceName == "team-a")
            let taken = try await refused(.conflict) {
                try await h.store.putApp(AppRequest(name: "mine"), actor: b, now: h.now())
            }
            #expect(!taken.message.contains("team-a"))
            try await refused(.notFound) { try await h.store.app(named: "mine", for: b) }
            try await refused(.notFound) { try await h.store.deleteApp(app.id, actor: b, now: h.now()) }
            try await refused(.notFound) {
                try await h.store.patchConfig(app.id, changes: [:], ifMatch: nil, actor: b, now: h.now())
            }
            #expect(try await h.store.apps(for: b).isEmpty)
            #expect(try await h.store.apps(for: a).map(\.name) == ["mine"])
            #expect(try await h.store.events(after: 0, limit: 10, app: nil, for: b).allSatisfy { $0.space == "team-b" })
            #expect(try await h.store.spaces(for: b).map(\.name) == ["team-b"])
            let viewer = Principal(token: .random(), name: "viewer:1", role: .viewer, space: nil)
            try await refused(.forbidden) { try await h.store.deleteApp(app.id, actor: viewer, now: h.now()) }
            try await refused(.forbidden) { try await h.store.putSpace(name: "third", actor: a, now: h.now()) }
        }
    }

    @Test func slotsAndNetworksAreTheLowestFreeOnes() async throws {
        try await Harness.run { h in
            let apps = try await withThrowingTaskGroup(of: App.self) { group in
                for n in 0..<6 { group.addTask { try await h.app("app-\(n)") } }
                return try await group.reduce(into: []) { $0.append($1) }
            }
            #expect(apps.map(\.uidSlot).sorted() == [0, 1, 2, 3, 4, 5])
            let victim = try #require(apps.first { $0.uidSlot == 2 })
            _ = try await h.store.deleteApp(victim.id, actor: h.admin, now: h.now())
            // As long as its data can exist its slot is not given away.
            #expect(try await h.app("late").uidSlot == 6)
            #expect(try await h.store.removeApp(victim.id, epoch: h.epoch, now: h.now()) == RemovedApp(app: victim.id))
            #expect(try await h.app(victim.name).uidSlot == 2)
            for name in ["one", "two"] { _ = try await h.store.putSpace(name: name, actor: h.admin, now: h.now()) }
            #expect(try await h.store.spaces(for: h.admin).map(\.networkIndex) == [0, 1, 2])
            #expect(try await !h.store.putSpace(name: "one", actor: h.admin, now: h.now()).created)
        }
    }

    @Test func patchChangesOnlyWhatIsGiven() async throws {
        try await Harness.run { h in
            let app = try await h.app("alpha")
            let patched = try await h.store.patchApp(
                app.id, AppPatch(deployBranch: "release/1", labels: ["a": "b"]), actor: h.admin, now: h.now())
            #expect(patched.deployBranch == "release/1" && patched.labels == ["a": "b"] && patched.stack == app.stack)
            #expect(try await h.store.fixDeployBranch(app.id, "main") == "release/1")
            let other = try await h.app("beta")
            #expect(try await h.store.fixDeployBranch(other.id, "master") == "master")
            #expect(try await h.store.fixDeployBranch(other.id, "main") == "master")
            for bad in ["", "a b", "-x", "a..b", "a\0b", "x.lock", "/a", "a~1", String(repeating: "x", count: 300)] {
                try await refused(.invalid) {
                    try await h.store.patchApp(app.id, AppPatch(deployBranch: bad), actor: h.admin, now: h.now())
                }
            }
        }
    }

    @Test func deletionRemovesEverythingButEvents() async throws {
        try await Harness.run { h in
            let app = try await h.app("alpha")
            _ = try await h.set(app, ["K": "v"])
            try await h.deploy(app, ["web": "a", "worker": "b"])
            let (instance, _) = try await h.up(app)
            _ = try await h.store.markCrashed(
                instance.id, exitCode: 1, reason: "boom", slotRestarts: 1, nextStartAt: h.now(), epoch: h.epoch,
                now: h.now())
            let scale = try await h.scale(app, ["web": 3]).operation
            let build = try await h.openBuild(app)
            try await refused(.conflict) { try await h.store.removeApp(app.id, epoch: h.epoch, now: h.now()) }
            let before = try await h.store.routingTable(bootID: "b")
            #expect(before.routes.count == 1)

            let operation = try await h.store.deleteApp(app.id, actor: h.admin, now: h.now())
            #expect(try await h.store.deleteApp(app.id, actor: h.admin, now: h.now()).id == operation.id)
            #expect(try await h.operation(scale.id).state == .cancelled)
            #expect(try await h.store.cancelRequested(build.id))
            let after = try await h.store.routingTable(bootID: "b")
            #expect(after.routes.isEmpty && after.mark.revision > before.mark.revision)
            try await refused(.conflict) { try await h.app("alpha") }
            try await refused(.conflict) { try await h.set(app, ["K": "w"]) }
            try await refused(.conflict) { try await h.scale(app, ["web": 1]) }
            #expect(try await h.store.snapshot(app.id)?.app.deleting == true)

            // The build's container may live as long as the build has not ended.
            #expect(try await h.store.snapshot(app.id)?.hasActiveBuild == true)
            try await refused(.conflict) { try await h.store.removeApp(app.id, epoch: h.epoch, now: h.now()) }
            try await h.store.failBuild(
                build.id, state: .cancelled, error: ErrorReport(code: .cancelled, message: "deleted"), now: h.now())
            let removed = try #require(try await h.store.removeApp(app.id, epoch: h.epoch, now: h.now()))
            #expect(try removed.slugs == [Harness.slug(1).digest])
            #expect(removed.builds.count == 2 && removed.builds.last == build.id)
            #expect(try await h.store.removeApp(app.id, epoch: h.epoch, now: h.now()) == nil)
            #expect(try await h.operation(operation.id).state == .completed)
            #expect(try await h.store.snapshot(app.id) == nil)
            #expect(try await h.store.knownSlugs().isEmpty)
            #expect(try await h.store.knownApps().isEmpty)
            let dump = try h.cluster.dump(h.url)
            let id = "\(app.id)"
            let mentions = dump.split(separator: "\n").filter { $0.contains(id) }
            #expect(mentions.allSatisfy { $0.contains("INTO public.operations") } && mentions.count == 1)
            #expect(try await h.kinds("alpha").suffix(1) == ["app.deleted"])
            #expect(try await h.app("alpha").id != app.id)
        }
    }

    @Test func aSharedSlugStaysForTheOtherApp() async throws {
        try await Harness.run { h in
            let (a, b) = (try await h.app("alpha"), try await h.app("beta"))
            try await h.deploy(a, slug: 9)
            try await h.deploy(b, slug: 9)
            _ = try await h.store.deleteApp(a.id, actor: h.admin, now: h.now())
            let removed = try await h.store.removeApp(a.id, epoch: h.epoch, now: h.now())
            #expect(removed?.slugs == [])
            #expect(try await h.store.knownSlugs().count == 1)
            // Its file stays as long as a build may be packing the same tree.
            let c = try await h.app("gamma")
            _ = try await h.openBuild(c)
            _ = try await h.store.deleteApp(b.id, actor: h.admin, now: h.now())
            #expect(try await h.store.removeApp(b.id, epoch: h.epoch, now: h.now())?.slugs == [])
            #expect(try await h.store.knownSlugs().isEmpty)
        }
    }

    @Test func numbersEndWithTheHostsRoom() async throws {
        try await Harness.run(capacity: Capacity(apps: 2, spaces: 2)) { h in
            for name in ["one", "two"] { _ = try await h.app(name) }
            try await refused(.exhausted) { try await h.app("three") }
            _ = try await h.store.putSpace(name: "team", actor: h.admin, now: h.now())
            try await refused(.exhausted) { try await h.store.putSpace(name: "more", actor: h.admin, now: h.now()) }
            // What is there is still found.
            #expect(try await h.app("one").uidSlot == 0)
            #expect(try await !h.store.putSpace(name: "team", actor: h.admin, now: h.now()).created)
        }
    }

    /// Names as an attacker would choose them: refused or unknown, never more.
    @Test func hostileTextIsOnlyText() async throws {
        try await Harness.run { h in
            let app = try await h.app("alpha")
            var generator = SystemRandomNumberGenerator()
            let pieces = [
                "'", "\"", ";", "--", "/*", "\\", "$1", "\0", "%", "\n", "a", "drop table apps", "🚀", " ",
                "';select pg_sleep(9)--",
            ]
            for _ in 0..<120 {
                let text = (0..<Int.random(in: 1...5, using: &generator)).map { _ in pieces.randomElement() ?? "a" }
                    .joined()
                try await refused(.notFound) { try await h.store.app(named: text + "'", for: h.admin) }
                try await refused(.invalid) {
                    try await h.store.putApp(AppRequest(name: text + "'"), actor: h.admin, now: h.now())
                }
                try await refused(.notFound) { try await h.store.build(app.id, text + "'") }
                #expect(try await h.store.events(after: 0, limit: 5, app: text + "'", for: h.admin).isEmpty)
                let value = text.replacing("\0", with: "")
                #expect(try await h.set(app, ["K": value + "x"]).vars["K"]?.text == value + "x")
                try await h.store.recordEvent(kind: "note", app: app.id, data: ["text": text], now: h.now())
            }
            for label in ["';drop", "it's \"quoted\"", "\\x00"] {
                let patched = try await h.store.patchApp(
                    app.id, AppPatch(labels: [label: label]), actor: h.admin, now: h.now())
                #expect(patched.labels == [label: label])
                #expect(try await h.store.app(app.id).labels == [label: label])
            }
            try await refused(.invalid) {
                try await h.store.patchApp(app.id, AppPatch(labels: ["a": "\0"]), actor: h.admin, now: h.now())
            }
            #expect(try await h.store.apps(for: h.admin).map(\.name) == ["alpha"])
        }
    }
}
