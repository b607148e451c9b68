import Testing

@testable import Router

@Suite struct HTTPResponseParserTests {
    private struct Outcome: Equatable {
        var status: Int?
        var body: [UInt8] = []
        var ended = false
        var failed = false
    }

    /// Feeds the bytes in pieces that end at `cuts`, then closes.
    private func parse(_ bytes: [UInt8], cuts: [Int] = [], close: Bool = true) -> Outcome {
        var outcome = Outcome()
        func take(_ event: HTTPResponseParser.Event) {
            switch event {
            case .head(let status): outcome.status = status
            case .body(let part): outcome.body += part
            case .end: outcome.ended = true
            }
        }
        var parser = HTTPResponseParser()
        var start = 0
        do {
            for cut in cuts + [bytes.count] {
                try parser.feed(bytes[start..<cut], take)
                start = cut
            }
            if close { try parser.close(take) }
        } catch {
            outcome.failed = true
        }
        return outcome
    }

    private let chunked = Array(
        "HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nA;x=1\r\n 0123456\r\n\r\n0\r\nX: y\r\n\r\n"
            .utf8)

    @Test func everyCutGivesTheSame() {
        let whole = parse(chunked)
        #expect(whole == Outcome(status: 200, body: Array("hello 0123456\r\n".utf8), ended: true))
        for cut in 0...chunked.count { #expect(parse(chunked, cuts: [cut]) == whole) }
        #expect(parse(chunked, cuts: Array(0..<chunked.count)) == whole)
    }

    @Test func otherFramings() {
        #expect(
            parse(Array("HTTP/1.1 204 No Content\r\n\r\n".utf8)) == Outcome(status: 204, ended: true))
        #expect(
            parse(Array("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok".utf8))
                == Outcome(status: 200, body: Array("ok".utf8), ended: true))
        #expect(
            parse(Array("HTTP/1.0 503 x\r\n\r\nsorry".utf8))
                == Outcome(status: 503, body: Array("sorry".utf8), ended: true))
    }

    @Test(arguments: [
        "", "HTTP/1.1 2", "HTTP/2 200 OK\r\n\r\n", "HTTP/1.1 100 Continue\r\n\r\n", "HTTP/1.1 200 OK\n\n",
        "HTTP/1.1 200 OK\r\nA: b\rc\r\n\r\n", "HTTP/1.1 200 OK\r\n: x\r\n\r\n", "HTTP/1.1 200 OK\r\nA b: x\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx",
        "HTTP/1.1 200 OK\r\nContent-Length: +1\r\n\r\nx", "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nx",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfffffffff\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffff\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nxx\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n",
        "HTTP/1.1 204 No Content\r\n\r\nmore",
    ])
    func oddBytesAreRefused(_ text: String) {
        #expect(parse(Array(text.utf8)).failed)
    }

    @Test func nothingGrowsWithoutBound() {
        let long = Array("HTTP/1.1 200 OK\r\nA: ".utf8) + Array(repeating: 120, count: 5000)
        #expect(parse(long, close: false).failed)
        let many = Array("HTTP/1.1 200 OK\r\n".utf8) + Array(String(repeating: "A: b\r\n", count: 4000).utf8)
        #expect(parse(many, close: false).failed)
        let trailers =
            Array("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n".utf8)
            + Array(String(repeating: "A: b\r\n", count: 4000).utf8)
        #expect(parse(trailers, close: false).failed)
    }

    /// Random damage: no crash, and pieces never change the outcome.
    @Test func damagedResponses() {
        var random = SeededRandom(5)
        for _ in 0..<5000 {
            var bytes = chunked
            for _ in 0..<Int.random(in: 1...4, using: &random) {
                let at = Int.random(in: 0..<bytes.count, using: &random)
                switch Int.random(in: 0..<3, using: &random) {
                case 0: bytes[at] = UInt8.random(in: 0...255, using: &random)
                case 1: bytes.remove(at: at)
                default: bytes.insert(UInt8.random(in: 0...255, using: &random), at: at)
                }
            }
            let cuts = (0..<3).map { _ in Int.random(in: 0...bytes.count, using: &random) }.sorted()
            let whole = parse(bytes), pieces = parse(bytes, cuts: cuts)
            #expect(whole.failed == pieces.failed && whole.ended == pieces.ended && whole.status == pieces.status)
            if !whole.failed { #expect(whole.body == pieces.body) }
        }
    }

    @Test func linesAreCutAnywhere() throws {
        let text = Array("one\n\ntwo\nthree".utf8)
        for cut in 0...text.count {
            var splitter = LineSplitter(limit: 5)
            let lines = try splitter.feed(Array(text[..<cut])) + splitter.feed(Array(text[cut...]))
            #expect(lines == [Array("one".utf8), Array("two".utf8)])
        }
        var splitter = LineSplitter(limit: 5)
        #expect(throws: LineSplitter.TooLong.self) { try splitter.feed(Array("sixsix".utf8)) }
    }
}
