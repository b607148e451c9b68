import Domain
import FoundationEssentials
import Glibc
import Testing

@testable import Telemetry

@Suite struct PlatformLinesTests {
    let directory = "/tmp/slipway-lines-\(UUID().uuidString)"
    let app = AppID.random()

    func line(_ text: String) -> LogLine {
        LogLine(time: Timestamp(microseconds: 1), source: .platform, process: "web.1", text: text)
    }

    @Test func linesAreReadBackFromAPlaceOnward() async throws {
        mkdir(directory, 0o700)
        let lines = PlatformLines(directory: directory)
        for n in 0..<10 { lines.append(app: app, line("line \(n)")) }
        let tail = try await lines.read(app: app, after: nil, limit: 3)
        #expect(tail.lines.map(\.text) == ["line 7", "line 8", "line 9"])
        #expect(try await lines.read(app: app, after: tail.next, limit: 10).lines.isEmpty)
        lines.append(app: app, line("one more"))
        #expect(try await lines.read(app: app, after: tail.next, limit: 10).lines.map(\.text) == ["one more"])
        // Another program reads the same.
        let again = PlatformLines(directory: directory)
        #expect(try await again.read(app: app, after: nil, limit: 100).lines.count == 11)
        await lines.remove(app: app)
        #expect(try await lines.read(app: app, after: nil, limit: 100).lines.isEmpty)
        rmdir(directory)
    }

    @Test func theFileStaysSmallAndAnOldPlaceGoesOnWithWhatIsLeft() async throws {
        mkdir(directory, 0o700)
        let lines = PlatformLines(directory: directory)
        let first = try await lines.read(app: app, after: nil, limit: 1)
        for n in 0..<8000 {
            lines.append(app: app, line("\(n) " + String(repeating: "x", count: 150)))
            if n % 500 == 0 { _ = try await lines.read(app: app, after: nil, limit: 1) }
        }
        let page = try await lines.read(app: app, after: first.next, limit: 100_000)
        #expect(page.lines.last?.text.hasPrefix("7999 ") == true)
        #expect(page.lines.count < 8000)
        var info = stat()
        #expect(lstat("\(directory)/\(app).log", &info) == 0)
        #expect(info.st_size < 1 << 20)
        await lines.remove(app: app)
        rmdir(directory)
    }
}
