import Domain
import Fuzzing
import Testing

@testable import Lifecycle

/// Whatever bytes come, the driver's parsers give an answer or an error of their own.
@Suite struct DriverFuzzTests {
    private func bytes(_ texts: [String]) -> [[UInt8]] { texts.map { Array($0.utf8) } }

    @Test func listsOfBuildpacks() {
        Fuzz().mutations(
            of: bytes(["# ours\nhttps://h/a.git#v1\n\nslipway/python\r\n", ""]),
            words: ["#", "\n", "\r", "\u{FEFF}", "://", "@", " "]
        ) { bytes in
            guard let list = try? BuildpackList.file(bytes) else { return }
            #expect(list.allSatisfy { !$0.isEmpty && !$0.hasPrefix("#") && !$0.contains(where: \.isWhitespace) })
            for text in list { _ = try? WantedBuildpack(text, known: ["python"]) }
        }
        Fuzz().mutations(
            of: bytes([#"{"buildpacks":[{"url":"https://h/x"}]}"#, "{}"]), words: ["[", "{", "\"url\"", "null", ","]
        ) {
            _ = try? BuildpackList.manifest($0)
        }
    }

    @Test func addresses() {
        Fuzz().mutations(
            of: bytes(["https://user:p%40s@host:80/a/b.git?q=1#ref", "git@host:team/x.git", "file:///srv/x", "ext::sh"]
            ),
            words: ["://", "@", ":", "%", "#", "?", "/", "..", "\u{1b}", "[", "]"]
        ) { bytes in
            let text = String(decoding: bytes, as: UTF8.self)
            guard let url = try? FetchURL(text) else { return }
            #expect(!url.host.isEmpty && !url.host.hasPrefix("-"))
            #expect(url.printable.unicodeScalars.allSatisfy { $0.properties.generalCategory != .control })
            // Read again, it is the same address without what is secret.
            if let again = try? FetchURL(url.withoutSecrets) {
                #expect(again.host == url.host && again.password == nil)
            }
        }
    }

    @Test func noSecretOfAnAddressIsPrinted() {
        Fuzz().mutations(
            of: bytes([
                "https://user:S3cr3tWord@host:80/a/b.git?q=1#ref", "http://S3cr3tWord@h/x", "ssh://u:S3cr3tWord@h/x",
            ]),
            words: ["://", "@", ":", "%", "#", "?", "/"]
        ) { bytes in
            guard let url = try? FetchURL(String(decoding: bytes, as: UTF8.self)), url.scheme != .ssh,
                url.password?.contains("S3cr3tWord") == true, !url.path.contains("S3cr3tWord"),
                !url.host.contains("S3cr3tWord")
            else { return }
            #expect(!url.printable.contains("S3cr3tWord"))
            #expect(!(url.query ?? "").contains("S3cr3tWord") ? !url.withoutSecrets.contains("S3cr3tWord") : true)
        }
    }

    @Test func tars() {
        let sample = TarBuilder.sample.finished
        func read(_ bytes: [UInt8]) {
            var reader = TarReader()
            var check = ArchiveCheck(limits: .init(bytes: 1 << 30, entries: 1000), archiveBytes: 1000)
            guard let entries = try? reader.take(bytes) else { return }
            for entry in entries { guard (try? check.take(entry)) != nil else { return } }
            _ = try? check.finish()
        }
        let words = [
            "../", "/", "\0", "0000644", "ustar\0", "30 path=../../x\n", "12 size=-1\n", "GNU.sparse.realsize=9",
        ]
        Fuzz().mutations(of: [sample], words: words) { bytes in
            read(bytes)
            // With checksums that are right again, so that the rest of each header is read as well.
            var mended = bytes
            for start in stride(from: 0, to: max(0, mended.count - 511), by: 512) {
                let sum = (0..<512).reduce(0) { $0 + ((148..<156).contains($1) ? 32 : Int(mended[start + $1])) }
                let text = Array(String(sum, radix: 8).utf8)
                let field = [UInt8](repeating: 48, count: max(0, 6 - text.count)) + text.suffix(6) + [0, 32]
                mended.replaceSubrange((start + 148)..<(start + 156), with: field)
            }
            read(mended)
        }
    }

    @Test func patterns() {
        Fuzz().mutations(
            of: bytes(["# out\n/doc\n*.md\nbuild/\na/**/b\n[a-z]?.c\n", "\\#x\\ \n"]),
            words: ["**", "*", "?", "[", "]", "\\", "/", "!", "\r\n", ".."]
        ) { bytes in
            guard let ignore = try? SlugIgnore(bytes) else { return }
            for path in ["doc/a", "x/y/z.md", "a/q/b", "[", "\\"] {
                _ = ignore.matches(path.split(separator: "/").map { Array($0.utf8) }, isFolder: true)
            }
        }
    }

    @Test func whatGitPrints() {
        let id = String(repeating: "b", count: 40)
        Fuzz().mutations(
            of: bytes([
                "100644 blob \(id)     130\ta\0160000 commit \(id)       -\tvendor/x\0",
                "submodule.a.b.path\nvendor/x\0submodule.a.b.url\nhttps://h/x\0",
            ]), words: ["\0", "\n", "\t", " ", "160000", "submodule.", ".path", "-", "99999999999999999999"]
        ) { bytes in
            _ = GitTree(bytes)
            for module in GitModules(listed: bytes).modules {
                _ = GitModules.names(of: module.path)
                _ = try? GitModules.address(module.url ?? "", of: nil)
            }
        }
    }

    @Test func notesAndFirstLinesAndProgramHeads() {
        let digest = String(repeating: "0a", count: 32)
        Fuzz().mutations(of: bytes(["\(digest) https://u:p@h/x\n"]), words: ["\n", " ", "://", "@"]) {
            _ = ArtifactList.parse($0)
        }
        Fuzz().mutations(
            of: bytes(["#!/usr/bin/env -S python3 -u\n", "#!/bin/bash\r\n"]), words: ["#!", "/", " ", "\r", "env", "="]
        ) {
            _ = ProgramCheck.fault(head: $0, path: "/usr/bin::") { _ in true }
        }
        Fuzz().mutations(
            of: bytes([#"[{"path":"x","commit":"\#(digest.prefix(40))"}]"#]), words: ["{", "[", "\"", "commit"]
        ) {
            _ = try? DriverRequest(environment: ["STACK": "s", "PAAS_SUBMODULES": String(decoding: $0, as: UTF8.self)])
            _ = try? DriverRequest(environment: ["STACK": "s", "PAAS_SOURCE": String(decoding: $0, as: UTF8.self)])
        }
    }

    @Test func programs() throws {
        let sample = try ELFSample.program(needs: ["libfoo.so.1", "libc.so.6"])
        Fuzz().mutations(of: [sample], words: ["\u{7F}ELF", "\0\0\0\0", "lib"]) { bytes in
            _ = ELFFile.needed { offset, count in
                guard offset < UInt64(bytes.count) else { return [] }
                return Array(bytes[Int(offset)...].prefix(count))
            }
        }
        Fuzz().mutations(
            of: bytes(["Package: a\nStatus: install ok installed\n\nPackage: b\n"]),
            words: ["\n", "Package: ", "Status: "]
        ) {
            _ = LibraryCheck.installed($0)
        }
    }
}
