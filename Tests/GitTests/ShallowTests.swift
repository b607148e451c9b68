import Domain
import OS
import Testing

@testable import Git

@Suite struct ShallowTests {
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

    @Test func theListHoldsOnlyWhatIsCutOff() async throws {
        let fixture = try GitFixture()
        let app = AppID.random()
        try await fixture.client.create(app: app)
        let commit = try fixture.push(["a": "1"], to: app)
        let file = ShallowFile(repository: fixture.repository(app))
        try file.add([commit, one])
        try file.add([two])
        #expect(try file.read() == [one, two, commit].sorted())
        GitLibrary.start()
        _ = try GitWorker.perform(.tidyShallow(app: app), repositories: fixture.settings.repositoriesDirectory)
        #expect(try file.read() == [])
        #expect(!Files.exists(fixture.repository(app) + "/shallow.lock"))
    }
}
