import Domain
import FoundationEssentials
import Glibc
import Logging
import OS
import Testing

@testable import Containers

@Suite struct LogStoreTests {
    private func withStore(budget: Int64 = 1 << 20, _ body: (LogStore, AppID) throws -> Void) throws {
        let root = "/tmp/paas-logs-\(UUID().uuidString.lowercased())"
        defer { _ = try? Files.removeTree(root) }
        try body(LogStore(root: root, budgetBytes: budget, logger: Logger(label: "test")), AppID.random())
    }

    private func append(_ store: LogStore, _ app: AppID, _ id: InstanceID, _ lines: [(second: Int, text: String)])
        throws
    {
        let file = try OwnedFD.open(store.activePath(app, id), O_WRONLY | O_CREAT | O_APPEND)
        for line in lines {
            let time = Timestamp(microseconds: 1_700_000_000_000_000 + Int64(line.second) * 1_000_000)
            try file.writeAll(ContainerLogLine.format(time, line.text))
        }
    }

    private func prepare(_ store: LogStore, _ app: AppID, _ name: String) throws -> InstanceID {
        let id = InstanceID.random()
        _ = try store.prepare(app: app, instance: id, name: name, source: .app)
        return id
    }

    @Test func linesAreParsed() throws {
        func parse(_ text: String) -> ContainerLogLine? { ContainerLogLine(Array(text.utf8)[...]) }
        let line = try #require(parse("2026-11-22T11:35:17.804617315+00:00 stdout F a  b"))
        #expect(line.time.description == "2026-11-22T11:35:17.804617Z")
        #expect(String(decoding: line.text, as: UTF8.self) == "a  b")
        #expect(!line.isPartial)
        #expect(parse("2026-11-22T12:35:17.5+01:00 stderr P x")?.time == Timestamp("2026-11-22T11:35:17.5Z"))
        #expect(parse("2026-11-22T12:35:17.5+01:00 stderr P x")?.isPartial == true)
        #expect(parse("2026-11-22T11:35:17Z stdout F ")?.text.isEmpty == true)
        for bad in [
            "", "x", "2026-11-22T11:35:17Z stdin F x", "2026-11-22T11:35:17Z stdout Q x",
            "2026-13-22T11:35:17Z stdout F x",
        ] {
            #expect(parse(bad) == nil, "\(bad)")
        }
        var bytes = Array("2026-11-22T11:35:17Z stdout F ".utf8)
        bytes += [0xFF, 0, 65]
        #expect(try #require(ContainerLogLine(bytes[...])).logLine(source: .app, process: "web.1").text == "\u{FFFD}?A")
        var random = SplitMix(state: 3)
        for _ in 0..<2000 {
            var mutated = Array("2026-11-22T11:35:17.804617315+00:00 stdout F abc".utf8)
            mutated[Int(random.next() % UInt64(mutated.count))] = UInt8(truncatingIfNeeded: random.next())
            _ = ContainerLogLine(mutated.prefix(Int(random.next() % 50)))
        }
    }

    @Test func runsAreMergedByTime() throws {
        try withStore { store, app in
            let a = try prepare(store, app, "web.1"), b = try prepare(store, app, "web.2")
            try append(store, app, a, [(1, "a1"), (4, "a4"), (5, "a5")])
            try append(store, app, b, [(2, "b2"), (3, "b3"), (6, "b6")])
            let last = try store.logs(app: app, instance: nil, after: nil, limit: 4)
            #expect(last.lines.map(\.text) == ["b3", "a4", "a5", "b6"])
            #expect(last.lines.map(\.process) == ["web.2", "web.1", "web.1", "web.2"])
            #expect(try store.logs(app: app, instance: nil, after: last.next, limit: 9).lines.isEmpty)
            let start = try store.logs(app: app, instance: nil, after: LogCursor(""), limit: 3)
            #expect(start.lines.map(\.text) == ["a1", "b2", "b3"])
            let rest = try store.logs(app: app, instance: nil, after: start.next, limit: 9)
            #expect(rest.lines.map(\.text) == ["a4", "a5", "b6"])
            #expect(
                try store.logs(app: app, instance: a, after: nil, limit: 9).lines.map(\.text) == ["a1", "a4", "a5"])
        }
    }

    @Test func aQuietProcessIsFoundHoweverMuchOthersWrite() throws {
        try withStore(budget: 64 << 20) { store, app in
            let quiet = try prepare(store, app, "cron.1"), loud = try prepare(store, app, "web.1")
            try append(store, app, quiet, [(1, "started")])
            try append(store, app, loud, (2...12_000).map { ($0, "request") })
            let all = try store.logs(app: app, instance: nil, after: nil, limit: 10_000)
            #expect(!all.lines.contains { $0.process == "cron.1" })
            let cron = LogQuery(process: "cron")
            let page = try store.logs(app: app, instance: nil, matching: cron, after: nil, limit: 5)
            #expect(page.lines.map(\.text) == ["started"])
            try append(store, app, loud, [(12_001, "request")])
            try append(store, app, quiet, [(12_002, "done")])
            let next = try store.logs(app: app, instance: nil, matching: cron, after: page.next, limit: 5)
            #expect(next.lines.map(\.text) == ["done"])
            let platform = LogQuery(source: .platform)
            #expect(try store.logs(app: app, instance: nil, matching: platform, after: nil, limit: 5).lines.isEmpty)
        }
    }

    @Test func aCursorHoldsAcrossRotationAndNewRuns() throws {
        try withStore { store, app in
            let a = try prepare(store, app, "web.1")
            try append(store, app, a, [(1, "one"), (2, "two")])
            let first = try store.logs(app: app, instance: nil, after: LogCursor(""), limit: 1)
            #expect(first.lines.map(\.text) == ["one"])
            try Files.rename(store.activePath(app, a), store.folder(app) + "/\(a).1.log")
            try append(store, app, a, [(3, "three")])
            let b = try prepare(store, app, "web.1")
            try append(store, app, b, [(4, "four")])
            let second = try store.logs(app: app, instance: nil, after: first.next, limit: 99)
            #expect(second.lines.map(\.text) == ["two", "three", "four"])
            #expect(
                try store.logs(app: app, instance: nil, after: nil, limit: 99).lines.map(\.text) == [
                    "one", "two", "three", "four",
                ])
            // The rest of a line that is being written is not read yet.
            let file = try OwnedFD.open(store.activePath(app, a), O_WRONLY | O_APPEND)
            try file.writeAll("2030-01-01T00:00:00.000000000+00:00 stdout F ha".utf8)
            #expect(try store.logs(app: app, instance: nil, after: second.next, limit: 9).lines.isEmpty)
            try file.writeAll("lf\n".utf8)
            #expect(try store.logs(app: app, instance: nil, after: second.next, limit: 9).lines.map(\.text) == ["half"])
        }
    }

    @Test func partsOfALineAreJoined() throws {
        try withStore { store, app in
            let a = try prepare(store, app, "web.1")
            func write(_ text: String) throws {
                try OwnedFD.open(store.activePath(app, a), O_WRONLY | O_CREAT | O_APPEND).writeAll(text.utf8)
            }
            let now = String(Timestamp.now().description.dropLast())
            try write("\(now)+00:00 stdout P ab\n\(now)+00:00 stdout F cd\n\(now)+00:00 stdout F \n")
            try write("\(now)+00:00 stdout P x\n\(now)+00:00 stderr F e\n\(now)+00:00 stdout P open\n")
            let page = try store.logs(app: app, instance: nil, after: LogCursor(""), limit: 9)
            #expect(page.lines.map(\.text) == ["abcd", "", "x", "e"])
            #expect(page.lines.map(\.partial) == [false, false, true, false])
            let tail = try store.logs(app: app, instance: nil, after: nil, limit: 2)
            #expect(tail.lines.map(\.text) == ["x", "e"])
            #expect(tail.next == page.next)
            try write("\(now)+00:00 stdout F ed\n")
            #expect(try store.logs(app: app, instance: nil, after: page.next, limit: 9).lines.map(\.text) == ["opened"])
        }
    }

    @Test func aLineThatARotationCutIsWhole() throws {
        try withStore { store, app in
            let a = try prepare(store, app, "web.1")
            func write(_ text: String) throws {
                try OwnedFD.open(store.activePath(app, a), O_WRONLY | O_CREAT | O_APPEND).writeAll(text.utf8)
            }
            func rotate(_ number: Int) throws {
                try Files.rename(store.activePath(app, a), store.folder(app) + "/\(a).\(number).log")
            }
            func time(_ second: Int) -> String { "2026-01-01T00:00:0\(second).000000000+00:00" }
            try write("\(time(1)) stdout F one\n\(time(2)) stdout P tw\n")
            try rotate(1)
            // The first part is waited for or shown; what follows in the next file belongs to it.
            try write("\(time(3)) stdout F o\n\(time(4)) stdout P three\n")
            try rotate(2)
            try write("\(time(5)) stdout F \n\(time(6)) stdout F four\n\(time(7)) stdout P fi\n")
            try rotate(3)
            try write("\(time(8)) stderr F other\n")
            let wanted = ["one", "two", "three", "four", "fi", "other"]
            for limit in [1, 2, 99] {
                var cursor = LogCursor("")
                var seen: [String] = []
                while true {
                    let page = try store.logs(app: app, instance: nil, after: cursor, limit: limit)
                    if page.lines.isEmpty { break }
                    seen += page.lines.map(\.text)
                    cursor = page.next
                }
                #expect(seen == wanted)
            }
            #expect(try store.logs(app: app, instance: nil, after: nil, limit: 99).lines.map(\.text) == wanted)
            // After a file that is gone nothing goes on.
            try Files.removeTree(store.folder(app) + "/\(a).2.log")
            #expect(
                try store.logs(app: app, instance: nil, after: nil, limit: 99).lines.map(\.text)
                    == ["one", "tw", "", "four", "fi", "other"])
        }
    }

    @Test func theLastLinesOfALargeLog() throws {
        try withStore { store, app in
            let a = try prepare(store, app, "web.1")
            try append(store, app, a, (0..<20_000).map { ($0, "line \($0)") })
            let page = try store.logs(app: app, instance: nil, after: nil, limit: 3)
            #expect(page.lines.map(\.text) == ["line 19997", "line 19998", "line 19999"])
            #expect(
                try store.logs(app: app, instance: nil, after: nil, limit: 10_000).lines.first?.text == "line 10000")
        }
    }

    @Test func theOldestGoesAndThatIsSaid() throws {
        try withStore(budget: 1 << 20) { store, app in
            var ids: [InstanceID] = []
            for run in 0..<4 {
                let id = try prepare(store, app, "web.1")
                ids.append(id)
                try append(store, app, id, (0..<5000).map { (run * 5000 + $0, String(repeating: "x", count: 40)) })
                var times = [timespec(tv_sec: 1000 + run, tv_nsec: 0), timespec(tv_sec: 1000 + run, tv_nsec: 0)]
                utimensat(AT_FDCWD, store.activePath(app, id), &times, 0)
            }
            store.keepWithinBudget(running: [.init(app: app, instance: ids[3])])
            #expect(!Files.exists(store.activePath(app, ids[0])))
            var total: Int64 = 0
            for name in try Files.list(store.folder(app)) {
                var info = stat()
                lstat(store.folder(app) + "/" + name, &info)
                total += Int64(info.st_size) / Int64(max(1, info.st_nlink))
            }
            #expect(total < (1 << 20) + 65_536)
            let lines = try store.logs(app: app, instance: nil, after: nil, limit: 10_000).lines
            #expect(lines.contains { $0.source == .platform && $0.text.contains("older lines were removed") })
        }
    }

    @Test func cursorsThatAreNoneAreRefused() throws {
        try withStore { store, app in
            for bad in ["x", "a=b@1", "\(InstanceID.random())=x@-1", "\(InstanceID.random())=x"] {
                #expect(throws: PaaSError.self) {
                    try store.logs(app: app, instance: nil, after: LogCursor(bad), limit: 1)
                }
            }
        }
    }

    @Test func whatIsBeingWrittenFitsIntoTheBudget() throws {
        try withStore(budget: 20 << 20) { store, _ in
            #expect(store.segmentBytes(siblings: 0) == (20 << 20) / 8)
            for count in [1, 10, 100, 400] {
                let total = (0..<count).reduce(0) { $0 + store.segmentBytes(siblings: $1) }
                #expect(total < 20 << 20, "\(count) containers")
            }
        }
    }
}
