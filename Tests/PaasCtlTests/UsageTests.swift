import ArgumentParser
import Domain
import Glibc
import Testing

@testable import paasctl

@Suite struct UsageTests {
    @Test func onlyColoursReachATerminal() {
        let bold = "\u{1B}[1;31mred\u{1B}[0m\tand plain é\u{1B}[m"
        #expect(Console.withoutControls(bold) == bold)
        for (text, shown) in [
            ("\u{1B}]0;title\u{07}", "\u{FFFD}]0;title\u{FFFD}"), ("\u{1B}[2J", "\u{FFFD}[2J"),
            ("\u{1B}[6n", "\u{FFFD}[6n"), ("\u{1B}[31", "\u{FFFD}[31"), ("\u{1B}[?25m", "\u{FFFD}[?25m"),
            ("\u{1B}c", "\u{FFFD}c"), ("\u{1B}", "\u{FFFD}"),
            ("a\rb\u{8}\u{7F}\u{9B}2J", "a\u{FFFD}b\u{FFFD}\u{FFFD}\u{FFFD}2J"),
            ("two\nlines", "two\u{FFFD}lines"),
        ] {
            #expect(Console.withoutControls(text) == shown)
        }
        #expect(Console.withoutControls("two\nlines\u{1B}[2J", keepingLines: true) == "two\nlines\u{FFFD}[2J")
    }

    @Test func theLoginFileIsNotNeededWhenEverythingIsGiven() throws {
        var template = Array("/tmp/paasctl-test-XXXXXX".utf8CString)
        let made = template.withUnsafeMutableBufferPointer { buffer in
            buffer.baseAddress.flatMap { mkdtemp($0) }.map { String(cString: $0) }
        }
        let home = try #require(made)
        defer { rmdir(home) }
        mkdir(home + "/slipway", 0o700)
        defer { rmdir(home + "/slipway") }
        let path = home + "/slipway/credentials.json"
        defer { unlink(path) }
        let environment = ["XDG_CONFIG_HOME": home]
        try LoginFile(api: "https://paas.example", token: "from-file", certificates: "/ca.pem").write(environment)

        let remembered = try Session(api: nil, token: nil, environment: environment)
        #expect(remembered.token == "from-file" && remembered.certificates == "/ca.pem")
        // A token belongs to its API.
        #expect(try Session(api: "http://other", token: nil, environment: environment).token == nil)
        let given = try Session(api: "https://paas.example", token: "mine", environment: environment)
        #expect(given.token == "mine" && given.certificates == "/ca.pem")

        let file = open(path, O_WRONLY | O_TRUNC)
        close(file)
        #expect(throws: Failure.self) { try Session(api: "http://a", token: nil, environment: environment) }
        #expect(throws: Failure.self) { try Session(api: nil, token: "t", environment: environment) }
        #expect(try Session(api: "http://a", token: "t", environment: environment).token == "t")
        #expect(try Session(api: "http://a", token: "t", environment: [:]).token == "t")
        let variables = ["PAAS_API": "http://a", "PAAS_TOKEN": "t"]
        #expect(try Session(api: nil, token: nil, environment: variables).api.description == "http://a")
    }

    @Test func numbersBeyondAllReasonAreWrongUsage() throws {
        let now = Timestamp(microseconds: 1_800_000_000_000_000)
        #expect(try Tokens.Create.time("90d", now: now) == now.adding(seconds: 90 * 86_400))
        for text in ["999999999d", "4294967295d", "36526d", "0d", "-1d", "d", "99999999999999999999s"] {
            #expect(throws: ValidationError.self) { try Tokens.Create.time(text, now: now) }
        }
        #expect(try Scale.parse("web=+2").count == 2)
        #expect(try Scale.parse("web=-1").isRelative)
        for text in ["web=+9223372036854775807", "web=-9223372036854775808", "web=501", "web=x", "web"] {
            #expect(throws: ValidationError.self) { try Scale.parse(text) }
        }
    }

    @Test func aConfigThatDoesNotRunIsSaidSo() {
        #expect(Config.warning("running", release: "3", running: "4", app: "demo") == nil)
        #expect(Config.warning("waiting", release: nil, running: nil, app: "demo") == nil)
        let failed = Config.warning("failed", release: "7", running: "4", app: "demo")
        #expect(failed?.contains("version 4: release v7 with this one failed (paasctl releases info v7") == true)
        #expect(Config.warning("rolling", release: "7", running: "4", app: "demo")?.contains("v7 is") == true)
        #expect(Config.warning("waiting", release: nil, running: "4", app: "demo")?.contains("next release") == true)
    }

    @Test func rulesBrokenLocallyAreWrongUsage() {
        #expect(throws: ValidationError.self) {
            try Usage.check { () throws(PaaSError) in try Names.validateConfigKey("1A") }
        }
    }

    @Test func argumentsThatAreNoTextAreNoticed() {
        func first(_ arguments: [[UInt8]]) -> Int? {
            var pointers = arguments.map { bytes in
                strdup(bytes.map { CChar(bitPattern: $0) } + [0])
            }
            defer { for pointer in pointers { free(pointer) } }
            let count = pointers.count
            return pointers.withUnsafeMutableBufferPointer { buffer in
                buffer.baseAddress.flatMap { Main.unreadableArgument(count, $0) }
            }
        }
        #expect(first([Array("paasctl".utf8), Array("config".utf8), Array("K=é".utf8)]) == nil)
        #expect(first([Array("paasctl".utf8), Array("set".utf8), [75, 61, 0xFF]]) == 2)
    }

    @Test func aRememberedFileIsNamedFromTheRoot() throws {
        #expect(try StandardInput.absolutePath("/tmp/../etc/./passwd") == "/etc/passwd")
        #expect(throws: Failure.self) { try StandardInput.absolutePath("/none/such") }
    }
}
