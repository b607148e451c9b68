import Domain
import Glibc
import OS
import Testing

@testable import Git

@Suite struct InterruptedWorkTests {
    let fixture: GitFixture
    let app = AppID.random()

    init() throws { fixture = try GitFixture() }

    @Test func whatKilledProgramsLeftIsClearedAndNothingElse() async throws {
        let client = fixture.client
        try await client.create(app: app)
        let commit = try await fixture.push(["a": "1"], to: app, branch: "team/main")
        let repository = fixture.repository(app)
        let lock = repository + "/refs/heads/x.lock"
        let quarantine = repository + "/objects/tmp_objdir-incoming-Ab12"
        try Files.makeDirectories(quarantine + "/pack")
        for path in [
            lock, repository + "/HEAD.lock", repository + "/refs/heads/team/main.lock",
            quarantine + "/pack/tmp_pack_Xy34",
        ] { try Files.writeDurably(path, "".utf8) }
        let unfinished = fixture.repository(.random()) + Repository.unfinished + "12"
        try Files.makeDirectories(unfinished + "/refs")
        await #expect(throws: PaaSError.self) {
            try await client.updateRef(app: app, ref: "refs/heads/x", old: nil, new: commit)
        }
        try InterruptedWork(repositories: fixture.settings.repositoriesDirectory) { Issue.record("\($0)") }.clear()
        #expect(!Files.exists(unfinished))
        #expect(!Files.exists(quarantine) && !Files.exists(lock) && !Files.exists(repository + "/HEAD.lock"))
        try await client.updateRef(app: app, ref: "refs/heads/x", old: nil, new: commit)
        try await client.updateRef(app: app, ref: "refs/heads/team/main", old: commit, new: commit)
        #expect(try await client.readRef(app: app, ref: "refs/heads/team/main") == commit)
    }
}
