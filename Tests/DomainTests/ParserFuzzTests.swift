import Domain
import Fuzzing
import Testing

/// Whatever bytes come: an answer or a clear error, never a trap, and what is accepted obeys the rules.
@Suite struct ParserFuzzTests {
    @Test func fuzzProcfile() throws {
        let samples = [
            "web: ./server --port $PORT\nworker: python3 -m jobs\n", "# types\r\nweb: a\r\n", "release: x\n",
            "\u{FEFF}web: ü\n", "<<<<<<< HEAD\nweb: a\n=======\n", "a",
        ].map { Array($0.utf8) }
        Fuzz().mutations(of: samples, words: [":", "\n", "\r\n", "\0", "web", "#", "<<<<<<<", "\u{FEFF}", "\u{2028}"]) {
            bytes in
            do throws(PaaSError) {
                let procfile = try Procfile(bytes)
                #expect(!procfile.entries.isEmpty)
                for entry in procfile.entries {
                    #expect(throws: Never.self) { try Names.validateShort(entry.type, "process type") }
                    #expect(!entry.command.isEmpty && !entry.command.utf8.contains(0))
                }
                #expect(procfile.commands.count == procfile.entries.count)
            } catch {
                #expect(error.code == .appFailed && error.message.hasPrefix("Procfile"))
            }
        }
    }

    @Test func fuzzJSON() throws {
        let samples = [
            #"{"env":{"A":{"value":"1"},"B":"x"},"formation":{"web":{"quantity":2}},"buildpacks":[{"url":"u"}]}"#,
            #"[1,-2.5e10,true,false,null,"\u00e9\ud83d\ude00\n"]"#, #"{"a":{"a":{"a":[[[[]]]]}}}"#, "0", "\"\"",
        ].map { Array($0.utf8) }
        Fuzz().mutations(of: samples, words: ["{", "[", "\"", ":", ",", "\\u", "\\", "1e999", "-", "null", "[[[[[[[["])
        { bytes in
            guard let value = try? JSONParser.parse(bytes) else { return }
            // What was understood can be written and understood again; a whole number may have become an integer.
            let again = try? JSONParser.parse(value.encoded())
            #expect(again?.encoded() == value.encoded())
        }
    }

    @Test func fuzzSettings() {
        let samples = ["PAAS_DOMAIN=x\nPAAS_PORT_RANGE=1-2\n", "# c\n\nPAAS_DATA_DIR=/a/b\n"].map { Array($0.utf8) }
        Fuzz().mutations(of: samples, words: ["=", "\n", "PAAS_SUBNETS=", "..", "/", ":", ",", "-"]) { bytes in
            do throws(PaaSError) {
                let settings = try Settings(environment: [:], file: String(decoding: bytes, as: UTF8.self))
                #expect(settings.dataDirectory.hasPrefix("/") && !settings.dataDirectory.contains("/../"))
            } catch {
                #expect(error.code == .invalid)
            }
        }
    }
}
