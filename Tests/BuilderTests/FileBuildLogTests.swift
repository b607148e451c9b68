import Builder
import Domain
import Glibc
import Testing

@Suite struct FileBuildLogTests {
    @Test func linesAndCursorSurviveAndUnfinishedAppendsAreDropped() async throws {
        let bench = Bench()
        let id = BuildID.random()
        try await bench.log.append(id, ["one", "two\rthree"], cursor: LogCursor("7"))
        // An append that died between its two writes.
        let file = open("\(bench.directory)/\(id).log", O_WRONLY | O_APPEND)
        #expect(write(file, "torn", 4) == 4)
        close(file)
        try await bench.log.append(id, ["four"], cursor: nil)
        let page = try await bench.log.read(id, from: .start, limit: 2)
        #expect(page.lines == ["one", "three"])
        #expect(try await bench.log.read(id, from: page.next, limit: 10).lines == ["four"])
        #expect(try await bench.log.cursor(id) == LogCursor("7"))
        #expect(try await bench.log.list() == [id])
        try await bench.log.remove(id)
        #expect(try await bench.log.list().isEmpty)
    }

    @Test func thePlatformsOwnLinesComeAlsoAfterTooMuchOutput() async throws {
        let bench = Bench()
        let id = BuildID.random()
        let line = String(repeating: "x", count: 60_000)
        for _ in 0..<6 {
            try await bench.log.append(id, [String](repeating: line, count: 100), cursor: LogCursor("1"))
        }
        try await bench.log.append(id, ["more output"], cursor: LogCursor("2"))
        try await bench.log.append(id, [" !     Build 1 failed"], cursor: nil)
        var position = BuildLogPosition.start
        var last: [String] = []
        while true {
            let page = try await bench.log.read(id, from: position, limit: 1000)
            if page.lines.isEmpty { break }
            last = (last + page.lines).suffix(2)
            position = page.next
        }
        #expect(last.first?.contains("longer than 32 MiB") == true)
        #expect(last.last == " !     Build 1 failed")
    }

    @Test func aDamagedStateCostsOnlyTheUnfinishedLine() async throws {
        let bench = Bench()
        let id = BuildID.random()
        try await bench.log.append(id, ["one", "two"], cursor: LogCursor("7"))
        for (name, text) in [("log", "torn"), ("state", "")] {
            let file = open("\(bench.directory)/\(id).\(name)", O_WRONLY | (name == "log" ? O_APPEND : O_TRUNC))
            #expect(write(file, text, text.utf8.count) == text.utf8.count)
            close(file)
        }
        #expect(try await bench.log.read(id, from: .start, limit: 10).lines == ["one", "two"])
        try await bench.log.append(id, ["three"], cursor: nil)
        #expect(try await bench.log.read(id, from: .start, limit: 10).lines == ["one", "two", "three"])
    }
}
