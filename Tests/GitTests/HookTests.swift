import Domain
import OS
import Testing

@testable import Git

@Suite struct HookTests {
    let zero = PushCommand.zero, one = String(repeating: "1", count: 40)

    @Test func commandsAreReadStrictly() throws {
        let command = try ProcReceiveHook.command("\(zero) \(one) refs/heads/a b")
        #expect(command == PushCommand(ref: "refs/heads/a b", old: zero, new: one))
        for bad in ["", "x y z", "\(zero) \(one)", "\(zero)\(one) refs/heads/a"] {
            #expect(throws: (any Error).self) { try ProcReceiveHook.command(bad) }
        }
    }

    @Test func everyRefGetsAReport() {
        let commands = ["a", "b", "c", "d"].map { PushCommand(ref: "refs/heads/\($0)", old: zero, new: one) }
        let report = ProcReceiveHook.report(
            commands,
            [
                "refs/heads/a": .moved, "refs/heads/b": .update, "refs/heads/c": .refuse("build 12\nfailed"),
            ])
        let text = String(decoding: report, as: UTF8.self)
        #expect(
            text == "0013ok refs/heads/a" + "0013ok refs/heads/b" + "0017option fall-through"
                + "0023ng refs/heads/c build 12 failed"
                + "003bng refs/heads/d the platform gave no answer; push again" + "0000")
    }

    func section(_ bytes: [UInt8]) throws -> [String] {
        let pipe = try Pipe()
        try pipe.writeEnd.writeAll(bytes)
        let reader = PacketReader(try pipe.readEnd.duplicate())
        _ = consume pipe
        return try reader.section(limit: 3)
    }

    @Test func packetsAreReadWithLimits() throws {
        #expect(try section(Array("0006a\n0005b0000".utf8)) == ["a", "b"])
        #expect(try section([]) == [])
        for bad in ["00", "zzzz", "0003", "0009abc", "+005a0000", "0005a0005a0005a0005a0000"] {
            #expect(throws: (any Error).self, "\(bad)") { try section(Array(bad.utf8)) }
        }
    }

    @Test func randomBytesNeverTrap() {
        var generator = SystemRandomNumberGenerator()
        let alphabet = Array("0123456789abcfF\n ".utf8)
        for _ in 0..<500 {
            let bytes = (0..<Int.random(in: 0..<80, using: &generator)).map { _ in
                alphabet.randomElement(using: &generator) ?? 0
            }
            _ = try? section(bytes)
        }
    }
}
