import Domain
import FoundationEssentials
import Testing

@Suite struct SSHPublicKeyTests {
    static func string(_ bytes: [UInt8]) -> [UInt8] {
        let n = UInt32(bytes.count)
        return [UInt8(n >> 24), UInt8(n >> 16 & 255), UInt8(n >> 8 & 255), UInt8(n & 255)] + bytes
    }

    static func line(_ type: String, _ fields: [[UInt8]], extra: [UInt8] = [], as shown: String? = nil) -> String {
        let blob = string(Array(type.utf8)) + fields.flatMap(string) + extra
        return "\(shown ?? type) \(Data(blob).base64EncodedString()) somebody@somewhere"
    }

    static func bytes(_ count: Int, first: UInt8 = 4) -> [UInt8] { [first] + [UInt8](repeating: 7, count: count - 1) }

    static let exponent: [UInt8] = [1, 0, 1]
    /// As ssh-keygen makes them.
    static let good: [String] = [
        line("ssh-ed25519", [bytes(32)]),
        line("ecdsa-sha2-nistp256", [Array("nistp256".utf8), bytes(65)]),
        line("ecdsa-sha2-nistp384", [Array("nistp384".utf8), bytes(97)]),
        line("ecdsa-sha2-nistp521", [Array("nistp521".utf8), bytes(133)]),
        line("ssh-rsa", [exponent, [0] + bytes(256, first: 128)]),
        line("ssh-rsa", [exponent, bytes(2048, first: 127)]),
        line("sk-ssh-ed25519@openssh.com", [bytes(32), Array("ssh:".utf8)]),
        line("sk-ecdsa-sha2-nistp256@openssh.com", [Array("nistp256".utf8), bytes(65), Array("ssh:".utf8)]),
    ]

    @Test(arguments: good) func keysAreRead(line: String) throws {
        let key = try SSHPublicKey(line)
        #expect(line.hasPrefix(key.line + " ") && key.comment == "somebody@somewhere")
        #expect(try SSHPublicKey("# mine\n\n  \(line)  \r\n") == key)
        #expect(try SSHPublicKey(key.line).comment == "")
        #expect(try SSHPublicKey(type: key.type, base64: String(key.line.split(separator: " ")[1])).blob == key.blob)
    }

    static let bad: [(String, String)] = [
        ("", "empty"), ("# only\n", "empty"), (good[0] + "\n" + good[1], "one line"),
        ("hello", "has the type \"hello\""),
        ("ssh-ed25519", "no key behind it"), ("ssh-ed25519 %%%", "no base64"), ("ssh-ed25519 AAAA", "not of the type"),
        ("from=\"10.0.0.1\" " + good[0], "without options"), (line("ssh-dss", [bytes(20)]), "DSA"),
        (line("ssh-ed25519-cert-v01@openssh.com", [bytes(32)]), "certificate"),
        (line("ssh-ed25519", [bytes(31)]), "damaged"), (line("ssh-ed25519", [bytes(32)], extra: [0]), "behind its end"),
        (line("ssh-rsa", [exponent, [0] + bytes(128, first: 128)]), "1024 bits"),
        (line("ssh-rsa", [exponent, bytes(256, first: 127)]), "2047 bits"),
        (line("ssh-rsa", [exponent, bytes(256, first: 128)]), "damaged"), (line("ssh-rsa", [[], []]), "damaged"),
        (line("ssh-rsa", [[2], [0] + bytes(256, first: 128)]), "damaged"),
        (line("ssh-rsa", [exponent, [0] + bytes(2049, first: 128)]), "16392 bits"),
        (line("ssh-ed25519", [bytes(32)], as: "ssh-rsa"), "not of the type"),
        (line("ecdsa-sha2-nistp256", [Array("nistp384".utf8), bytes(97)]), "damaged"),
        (line("ecdsa-sha2-nistp256", [Array("nistp256".utf8), bytes(65, first: 2)]), "damaged"),
        (line("sk-ssh-ed25519@openssh.com", [bytes(32)]), "damaged"),
        ("---- BEGIN SSH2 PUBLIC KEY ----\nAAAA\n---- END SSH2 PUBLIC KEY ----", "ssh-keygen -i"),
        ("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----", "ssh-keygen -i"),
        ("-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA", "private key"),
        ("-----BEGIN RSA PRIVATE KEY-----\n", "private key"),
        ("PuTTY-User-Key-File-3: ssh-ed25519", "private key"),
        (good[0] + String(repeating: "x", count: SSHPublicKey.maximumBytes), "at most"),
    ]

    @Test(arguments: bad) func whatIsNoKeyIsRefusedByReason(text: String, words: String) {
        let error = #expect(throws: PaaSError.self) { try SSHPublicKey(text) }
        #expect(error?.message.contains(words) == true, "\(error?.message ?? "")")
        #expect(error?.message.contains("AAAA") != true)
    }

    @Test func aCommentIsCutAndCleaned() throws {
        let key = try SSHPublicKey(
            Self.good[0].replacing(
                "somebody@somewhere", with: "a\u{1B}[2J\u{7} b " + String(repeating: "c", count: 200)))
        #expect(key.comment.count == 100 && key.comment.hasPrefix("a[2J b c"))
    }

    @Test func brokenKeysAreRefusedAndNeverTrapped() {
        var generator = SeededGenerator(state: 11)
        for round in 0..<5000 {
            let source = Self.good[round % Self.good.count].split(separator: " ")
            guard var blob = Data(base64Encoded: String(source[1])).map({ Array($0) }) else { continue }
            switch round % 4 {
            case 0: blob.removeLast(Int.random(in: 1...min(60, blob.count), using: &generator))
            case 1:
                blob[Int.random(in: 0..<min(40, blob.count), using: &generator)] ^= UInt8.random(
                    in: 1...255, using: &generator)
            case 2:
                blob.insert(
                    UInt8.random(in: 0...255, using: &generator), at: Int.random(in: 0...blob.count, using: &generator))
            default:
                blob = (0..<Int.random(in: 0..<200, using: &generator)).map { _ in
                    UInt8.random(in: 0...255, using: &generator)
                }
            }
            do throws(PaaSError) {
                let key = try SSHPublicKey("\(source[0]) \(Data(blob).base64EncodedString())")
                // Only what the key itself may be can differ.
                #expect(key.blob == blob && key.blob.starts(with: Self.string(Array(key.type.utf8))))
            } catch {
                #expect(error.code == .invalid)
            }
        }
    }
}

struct SeededGenerator: RandomNumberGenerator {
    var state: UInt64
    mutating func next() -> UInt64 {
        state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
        var x = state
        x ^= x >> 33
        return x &* 0xff51_afd7_ed55_8ccd
    }
}
