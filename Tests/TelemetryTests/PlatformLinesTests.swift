import Domain
import FoundationEssentials
import Glibc
import Synchronization
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
        let tail = try await lines.lines(app, LogQuery(), after: nil, limit: 3)
        #expect(tail.lines.map(\.text) == ["line 7", "line 8", "line 9"])
        #expect(try await lines.lines(app, LogQuery(), after: tail.next, limit: 10).lines.isEmpty)
        lines.append(app: app, line("one more"))
        #expect(try await lines.lines(app, LogQuery(), after: tail.next, limit: 10).lines.map(\.text) == ["one more"])
        // Another program reads the same.
        let again = PlatformLines(directory: directory)
        #expect(try await again.lines(app, LogQuery(), after: nil, limit: 100).lines.count == 11)
        await lines.remove(app: app)
        #expect(try await lines.lines(app, LogQuery(), after: nil, limit: 100).lines.isEmpty)
        rmdir(directory)
    }

    @Test func theFileStaysSmallAndAnOldPlaceGoesOnWithWhatIsLeft() async throws {
        mkdir(directory, 0o700)
        let lines = PlatformLines(directory: directory)
        let first = try await lines.lines(app, LogQuery(), after: nil, limit: 1)
        for n in 0..<8000 {
            lines.append(app: app, line("\(n) " + String(repeating: "x", count: 150)))
            if n % 500 == 0 { _ = try await lines.lines(app, LogQuery(), after: nil, limit: 1) }
        }
        let page = try await lines.lines(app, LogQuery(), after: first.next, limit: 100_000)
        #expect(page.lines.last?.text.hasPrefix("7999 ") == true)
        #expect(page.lines.count < 8000)
        var info = stat()
        #expect(lstat("\(directory)/\(app).log", &info) == 0)
        #expect(info.st_size < 1 << 20)
        await lines.remove(app: app)
        rmdir(directory)
    }

    @Test func aFilterIsAppliedBeforeTheLimit() async throws {
        mkdir(directory, 0o700)
        let lines = PlatformLines(directory: directory)
        lines.append(app: app, LogLine(time: .now(), source: .platform, process: "cron.1", text: "quiet"))
        for n in 0..<100 { lines.append(app: app, line("\(n)")) }
        let page = try await lines.lines(app, LogQuery(process: "cron"), after: nil, limit: 5)
        #expect(page.lines.map(\.text) == ["quiet"])
        #expect(try await lines.lines(app, LogQuery(source: .app), after: nil, limit: 5).lines.isEmpty)
        await lines.remove(app: app)
        rmdir(directory)
    }

    @Test func ofAFileThatGrewFarTooLargeTheNewestPartIsKept() throws {
        let path = "/tmp/slipway-lines-\(UUID().uuidString)"
        defer { unlink(path) }
        let file = LineFile(path: path)
        // One large batch.
        try file.append((0..<40_000).flatMap { Array("line \($0) \(String(repeating: "x", count: 40))\n".utf8) })
        try file.append(Array("last\n".utf8))
        var texts: [String] = []
        let end = try file.read(from: nil) { bytes in
            texts.append(String(decoding: bytes, as: UTF8.self))
            return true
        }
        #expect(texts.last == "last")
        #expect(texts.dropLast().last?.hasPrefix("line 39999 ") == true)
        #expect(texts.count < 10_000)
        try file.append(Array("more\n".utf8))
        var more: [String] = []
        _ = try file.read(from: end) { bytes in
            more.append(String(decoding: bytes, as: UTF8.self))
            return true
        }
        #expect(more == ["more"])
    }

    @Test func aFullDiskTakesNothingThatWasWrittenBefore() async throws {
        mkdir(directory, 0o700)
        let room = Mutex(Int.max)
        let lines = PlatformLines(directory: directory) { file, bytes in
            let count = room.withLock { room in
                let count = min(bytes.count, room)
                room -= count
                return count
            }
            guard count > 0 else {
                errno = ENOSPC
                return -1
            }
            return Glibc.write(file, bytes.baseAddress, count)
        }
        func texts() async throws -> [String] {
            try await lines.lines(app, LogQuery(), after: nil, limit: 100_000).lines.map(\.text)
        }
        lines.append(app: app, line("first"))
        #expect(try await texts() == ["first"])
        room.withLock { $0 = 10 }
        lines.append(app: app, line("second"))
        #expect(try await texts() == ["first"])
        room.withLock { $0 = Int.max }
        lines.append(app: app, line("third"))
        let after = try await texts()
        #expect(after.count == 3 && after[..<2] == ["first", "third"])
        #expect(after.last?.hasPrefix("1 lines about this app were dropped") == true)
        // The same when the file is being made smaller.
        for n in 0..<5000 { lines.append(app: app, line("\(n) " + String(repeating: "x", count: 150))) }
        let full = try await texts()
        room.withLock { $0 = 50 }
        lines.append(app: app, line("lost"))
        #expect(try await texts() == full)
        await lines.remove(app: app)
        #expect(rmdir(directory) == 0)
    }
}
