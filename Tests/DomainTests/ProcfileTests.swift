import Domain
import Testing

@Suite struct ProcfileTests {
    func parse(_ text: String) throws -> [String: String] { try Procfile(Array(text.utf8)).commands }

    @Test func readsTypesAndCommands() throws {
        let parsed = try parse("web: ./server --port $PORT\n\n# a comment\nworker:  python3 w.py: x # kept\r\n")
        #expect(parsed == ["web": "./server --port $PORT", "worker": "python3 w.py: x # kept"])
    }

    @Test func aByteOrderMarkIsSkipped() throws {
        #expect(try Procfile([0xEF, 0xBB, 0xBF] + Array("web: x".utf8)).commands == ["web": "x"])
    }

    @Test(arguments: [
        ("web ./server", "line 1", "colon"), ("web: a\nweb: b", "line 2", "twice"), ("Web: a", "line 1", "a-z"),
        ("web:", "line 1", "no command"), ("web: a\n<<<<<<< HEAD\nx: y", "line 2", "merge conflict"),
        ("# nothing\n", "Procfile", "no process type"), ("web: a\0b", "line 1", "NUL"), ("my_type: a", "line 1", "a-z"),
    ])
    func saysWhichLineIsWrongAndWhy(_ text: String, _ place: String, _ reason: String) {
        let error = #expect(throws: PaaSError.self) { try parse(text) }
        #expect(error?.code == .appFailed)
        #expect(error?.message.contains(place) == true)
        #expect(error?.message.contains(reason) == true, "\(error?.message ?? "")")
    }

    @Test func refusesOtherEncodingsAndSizes() {
        #expect(throws: PaaSError.self) { try Procfile([0xFF, 0xFE, 0x77, 0x00]) }
        #expect(throws: PaaSError.self) { try Procfile([0x77, 0x3A, 0x20, 0xC3]) }
        #expect(throws: PaaSError.self) { try Procfile([UInt8](repeating: 35, count: Procfile.maximumBytes + 1)) }
    }

    @Test func neverTrapsOnRandomBytes() {
        var generator = SystemRandomNumberGenerator()
        let alphabet = Array("web:#\n\r\t <=>\u{0}é-_09".utf8)
        for _ in 0..<2000 {
            let length = Int.random(in: 0..<60, using: &generator)
            let bytes = (0..<length).map { _ in alphabet.randomElement(using: &generator) ?? 0 }
            if let parsed = try? Procfile(bytes) {
                #expect(!parsed.entries.isEmpty)
                #expect(Set(parsed.entries.map(\.type)).count == parsed.entries.count)
            }
        }
    }
}
