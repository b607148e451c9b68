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
}
