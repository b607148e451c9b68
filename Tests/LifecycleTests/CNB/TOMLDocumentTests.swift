import Testing

@testable import Lifecycle

@Suite struct TOMLDocumentTests {
    private func parse(_ text: String) throws -> TOMLSection { try TOMLDocument.parse(Array(text.utf8), "x.toml") }

    @Test func readsEveryKindOfValueAndWritesItBack() throws {
        let text = """
            text = "a \\"b\\" \\\\ \\n \\u00e4"
            literal = 'C:\\x'
            number = 42
            negative = -9223372036854775807
            half = 0.5
            whole = 3.0
            big = 1e300
            infinite = -inf
            yes = true
            day = 1979-05-27
            local = 1979-05-27T07:32:00
            zoned = 1979-05-27T00:32:00-07:30
            list = [1, "two", [3.5], { four = 4 }]
            empty = {}
            [table]
            a.b.c = "deep"
            "odd key" = 1
            [[array]]
            x = 1
            [[array]]
            y = 2
            """
        let read = try parse(text)
        #expect(read.map["number"] == .integer(42))
        #expect(read.map["whole"] == .double(3))
        #expect(read.map["local"] == .moment("1979-05-27T07:32:00"))
        #expect(read.map["zoned"] == .moment("1979-05-27T00:32:00-07:30"))
        #expect(try read.string("literal") == "C:\\x")
        #expect(try read.sections("array").count == 2)
        let again = try TOMLDocument.parse(read.map.encoded(), "again")
        #expect(again.map == read.map)
    }

    @Test func namesFileAndLineOfABrokenDocument() {
        #expect { try parse("a = 1\nb = = 2\n") } throws: {
            ($0 as? TOMLFailure)?.message.hasPrefix("x.toml line 2: ") == true
        }
        #expect { try parse("a = 1\na = 2\n") } throws: { ($0 as? TOMLFailure)?.message.contains("line 2") == true }
        #expect(throws: TOMLFailure.self) { try TOMLDocument.parse([0x61, 0x3D, 0x22, 0xFF, 0x22], "x") }
    }

    @Test func namesTheKeyThatHoldsTheWrongKind() throws {
        let root = try parse("[a]\nb = 1\nc = [1]\n[[d]]\ne = \"\"\n")
        let a = try #require(try root.section("a"))
        #expect(throws: TOMLFailure(message: "x.toml: \"a.b\" must be a string, not an integer")) { try a.string("b") }
        #expect(throws: TOMLFailure(message: "x.toml: \"a.c\" must hold strings only, not an integer")) {
            try a.strings("c")
        }
        #expect(throws: TOMLFailure(message: "x.toml: \"d[0].e\" is missing")) {
            try root.sections("d")[0].requiredString("e")
        }
    }

    @Test func refusesWhatAStackOrACStringCantHold() {
        let dots = Array(repeating: "a", count: 40).joined(separator: ".")
        let refused = [
            "x = \"a\0b\"", "x = \"\\u0000\"", "x = \"\"\"\\U00000000\"\"\"", "\(dots) = 1", "[\(dots)]", "[[\(dots)]]",
            "x = " + String(repeating: "[", count: 5_000), "x = " + String(repeating: "{a=", count: 5_000),
            "x = 1979-05-27T:", "x = 1979-05-27t", "[=", "[ [,", "x = [ }", "x = [\u{A0}1]",
            "x = { y = \"\"\"a\"\"\"\"\", \(dots) = 1 }", String(repeating: "#", count: TOMLDocument.maximumBytes + 1),
        ]
        for text in refused { #expect(throws: TOMLFailure.self, "\(text.prefix(60))") { try parse(text) } }
    }

    @Test func pointsAndBracketsInStringsAndCommentsCountForNothing() throws {
        let dots = String(repeating: ".", count: 100), brackets = String(repeating: "[", count: 100)
        let root = try parse(
            "# \(dots)\(brackets)\na = \"\(dots)\\\"\(brackets)\"\nb = '\(brackets)'\nc = \"\"\"\n\(dots)\n\(brackets)\"\"\"\nd = '''\n\(dots)'''\n"
        )
        #expect(try root.string("c") == dots + "\n" + brackets)
        #expect(try parse("\u{FEFF}a = 1").map["a"] == .integer(1))
    }

    @Test func randomBytesAreRefusedOrReadWithoutHarm() {
        var generator = SplitMix(seed: 7)
        let pieces = [
            "[", "]", "[[", "]]", "{", "}", "a", "b.c", "=", "\"", "'", "\"\"\"", "'''", "\n", "#", ",", "1", "-",
            "1e9", "true",
            "\\", "\\u0041", "1979-05-27", "T07:32:00Z", "é", " ", "\t", "\r\n", "inf", "0x",
        ]
        for _ in 0..<20_000 {
            let text = (0..<generator.next(below: 24)).map { _ in pieces[generator.next(below: pieces.count)] }.joined()
            if let root = try? parse(text) {
                // Whatever was read can be written and read again.
                #expect((try? TOMLDocument.parse(root.map.encoded(), "again"))?.map == root.map, "\(text)")
            }
            let bytes = (0..<generator.next(below: 40)).map { _ in UInt8(generator.next(below: 256)) }
            _ = try? TOMLDocument.parse(bytes, "bytes")
        }
    }
}

/// Numbers that are the same in every run, so that what fails once fails again.
struct SplitMix {
    private var state: UInt64
    init(seed: UInt64) { state = seed }

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var z = state
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }

    mutating func next(below limit: Int) -> Int { Int(next() % UInt64(limit)) }
}
