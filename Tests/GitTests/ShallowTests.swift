import Domain
import OS
import Testing

@testable import Git

@Suite struct ShallowTests {
    let app = AppID.random()
    let one = String(repeating: "1", count: 40), two = String(repeating: "2", count: 40)

    func packet(_ text: String) -> [UInt8] { PacketWriter.line(text) }

    @Test(arguments: [1, 3, 7, 1000]) func leadingLinesAreTakenOutWhereverTheBodyIsCut(_ step: Int) {
        let rest = packet("\(one) \(two) refs/heads/main\0report-status") + PacketWriter.flush + Array("PACK…".utf8)
        let body = packet("shallow \(one)\n") + packet("shallow \(two)") + rest
        var prelude = ShallowPrelude()
        var position = 0
        while position < body.count {
            let part = body[position..<min(position + step, body.count)]
            position += part.count
            if case .complete(let shallow, let behind) = prelude.feed(part) {
                #expect(shallow == [one, two])
                #expect(behind + body[position...] == rest)
                return
            }
        }
        Issue.record("the prelude never ended")
    }

    @Test func everyOtherBodyPassesUnchanged() {
        for body in ["0000", "", "00", "zzzzshallow", "0035shallow xyz", "0009PACK0", "000bshallow"] {
            var prelude = ShallowPrelude()
            var progress = prelude.feed(Array(body.utf8)[...])
            if progress == .needsMore { progress = prelude.finish() }
            #expect(progress == .complete(shallow: [], rest: Array(body.utf8)))
        }
    }

    @Test func theListHoldsOnlyWhatIsCutOffOrReliedOn() async throws {
        let fixture = try GitFixture()
        try await fixture.client.create(app: app)
        let commit = try await fixture.push(["a": "1"], to: app)
        let file = ShallowFile(repository: fixture.repository(app)), lists = ShallowLists()
        let first = try lists.add([commit, one], app, file)
        #expect(try lists.idle(app, file) == [])
        lists.settle(first, app)
        #expect(try lists.idle(app, file) == [one, commit].sorted())
        try GitLibrary.start()
        guard
            case .commits(let needless) = try GitWorker.perform(
                .needless(app: app, shallow: [one, commit]), repositories: fixture.settings.repositoriesDirectory)
        else { throw PaaSError(.internal, "no list of commits") }
        #expect(needless == [one, commit])
        // A push that came meanwhile relies on one of them.
        let second = try lists.add([one, two], app, file)
        try lists.remove(needless, app, file)
        #expect(try file.read() == [one, two])
        lists.settle(second, app)
        try lists.remove([one, two], app, file)
        #expect(!Files.exists(fixture.repository(app) + "/shallow"))
        #expect(!Files.exists(fixture.repository(app) + "/shallow.lock"))
    }

    @Test func anAppWhoseListIsLockedHoldsUpNoOther() async throws {
        let fixture = try GitFixture()
        let lists = ShallowLists()
        let locked = fixture.root + "/locked", free = fixture.root + "/free"
        for folder in [locked, free] { try Files.makeDirectories(folder) }
        try Files.writeDurably(locked + "/shallow.lock", "".utf8)
        let waiting = Counter(), done = Counter(), app = app, commit = one
        OS.Thread.start("locked-list") {
            waiting.add()
            do { _ = try lists.add([commit], app, ShallowFile(repository: locked, staleSeconds: 1000)) } catch {
                Issue.record("\(error)")
            }
            done.add()
        }
        try await eventually("it waits for the lock") { waiting.value == 1 }
        for _ in 0..<20 {
            let other = AppID.random()
            lists.settle(try lists.add([two], other, ShallowFile(repository: free)), other)
        }
        #expect(done.value == 0)
        try Files.remove(locked + "/shallow.lock")
        try await eventually("it goes on") { done.value == 1 }
    }

    @Test func onlyALockThatStaysTheSameIsTakenForALeftover() throws {
        let fixture = try GitFixture()
        let repository = fixture.root + "/bare"
        try Files.makeDirectories(repository)
        try Files.writeDurably(repository + "/shallow.lock", "".utf8)
        let file = ShallowFile(repository: repository, staleSeconds: 0.2)
        let start = Monotonic.now()
        try file.add([one])
        #expect(Monotonic.now() - start >= 0.2)
        #expect(try file.read() == [one])
        #expect(!Files.exists(repository + "/shallow.lock"))
    }
}
