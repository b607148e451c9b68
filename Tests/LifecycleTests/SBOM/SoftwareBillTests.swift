import Domain
import Foundation
import Fuzzing
import Glibc
import OS
import Testing

@testable import Lifecycle

@Suite struct SoftwareBillTests {
    /// A slug with packages of every kind, in a folder of its own.
    final class Slug {
        let root = Files.canonical(NSTemporaryDirectory()) + "/sbom-" + UUID().uuidString
        init() throws { try Files.makeDirectories(root) }
        deinit { try? LayerTree.remove(root) }

        func write(_ path: String, _ text: String, mode: UInt16 = 0o644) throws {
            try write(path, Array(text.utf8), mode: mode)
        }

        func write(_ path: String, _ bytes: [UInt8], mode: UInt16 = 0o644) throws {
            try Files.makeDirectories(Files.parent("\(root)/\(path)"))
            let file = try OwnedFD.open("\(root)/\(path)", O_WRONLY | O_CREAT | O_TRUNC, mode: mode_t(mode))
            try file.writeAll(bytes)
        }

        func bill() throws -> (root: JSONValue, bill: SoftwareBill) {
            let bill = try SoftwareBill(app: root, stack: "debian-13", name: "shop")
            return (try JSONParser.parse(bill.document), bill)
        }

        /// Package URLs in their order.
        func packages() throws -> [String] {
            try (bill().root["components"]?.arrayValue ?? []).map {
                $0["purl"]?.stringValue ?? $0["bom-ref"]?.stringValue ?? ""
            }
        }
    }

    private static let digest = String(repeating: "ab", count: 32)

    private func full() throws -> Slug {
        let slug = try Slug()
        try slug.write(
            ".apt/.packages",
            "libpq5 15.8-0+deb12u1 amd64 \(Self.digest) http://user:secret@mirror/pool/libpq5.deb\ntzdata 2024a all \(Self.digest) http://m/t.deb\n"
        )
        try slug.write(
            ".other/var/lib/dpkg/status",
            "Package: zlib1g\nStatus: install ok installed\nArchitecture: amd64\nVersion: 1:1.3\nDescription: x\n Version: no\n\nPackage: gone\nStatus: deinstall ok config-files\nVersion: 1\n"
        )
        try slug.write(
            ".venv/lib/python3.13/site-packages/Flask_Login-0.6.3.dist-info/METADATA",
            "Metadata-Version: 2.1\nName: Flask_Login\nVersion: 0.6.3\n\nName: not-this\n")
        try slug.write("x/site-packages/old.egg-info/PKG-INFO", "Name: old.thing\nVersion: 1.0+local\n")
        try slug.write("elsewhere/x.dist-info/METADATA", "Name: no\nVersion: 1\n")
        try slug.write("package.json", "{\"name\":\"shop\",\"version\":\"9.9.9\"}")
        try slug.write("node_modules/left-pad/package.json", "{\"name\":\"left-pad\",\"version\":\"1.3.0\"}")
        try slug.write("node_modules/left-pad/lib/package.json", "{\"name\":\"inner\",\"version\":\"1.0.0\"}")
        try slug.write("node_modules/@types/node/package.json", "{\"name\":\"@types/node\",\"version\":\"20.1.0\"}")
        try slug.write(
            "node_modules/a/node_modules/left-pad/package.json", "{\"name\":\"left-pad\",\"version\":\"1.3.0\"}")
        try slug.write("node_modules/marker/package.json", "{\"type\":\"module\"}")
        try slug.write(
            ".swift-bin/Package.resolved",
            """
            {"pins":[{"identity":"swift-log","kind":"remoteSourceControl","location":"https://user:secret@github.com/apple/swift-log.git","state":{"revision":"abc","version":"1.6.1"}},
            {"identity":"x","location":"git@example.com:team/x","state":{"branch":"main","revision":"def"}}],"version":2}
            """)
        try slug.write(
            "vendor/bundle/ruby/3.3.0/specifications/rack-3.1.8.gemspec",
            "# -*- encoding: utf-8 -*-\nGem::Specification.new do |s|\n  s.name = \"rack\".freeze\n  s.version = \"3.1.8\".freeze\nend\n"
        )
        try slug.write(
            "vendor/composer/installed.json", "{\"packages\":[{\"name\":\"Monolog/Monolog\",\"version\":\"3.7.0\"}]}")
        try slug.write("bin/server", GoSample.program(), mode: 0o755)
        try slug.write(
            ".layers/sbom/launch/a_b/layer/sbom.cdx.json",
            """
            {"bomFormat":"CycloneDX","specVersion":"1.5","components":[
            {"type":"framework","bom-ref":"r1","name":"lua","version":"5.4","purl":"pkg:generic/lua@5.4","licenses":[{"license":{"id":"MIT"}}],
             "externalReferences":[{"type":"vcs","url":"https://user:secret@host/lua"}],"description":"see https://u:secret@x/ and on"},
            {"type":"nonsense","name":"bare","signature":{}}]}
            """)
        return slug
    }

    @Test func namesThePackagesOfEveryKind() throws {
        let slug = try full()
        #expect(
            try slug.packages() == [
                "bare@", "pkg:composer/monolog/monolog@3.7.0",
                "pkg:deb/debian/libpq5@15.8-0%2Bdeb12u1?arch=amd64&distro=debian-13",
                "pkg:deb/debian/tzdata@2024a?arch=all&distro=debian-13",
                "pkg:deb/debian/zlib1g@1:1.3?arch=amd64&distro=debian-13", "pkg:gem/rack@3.1.8", "pkg:generic/lua@5.4",
                "pkg:golang/example.com/net@v1.2.3", "pkg:golang/example.com/replaced@v2.0.0",
                "pkg:golang/example.com/server",
                "pkg:golang/stdlib@1.24.4", "pkg:npm/%40types/node@20.1.0", "pkg:npm/left-pad@1.3.0",
                "pkg:pypi/flask-login@0.6.3", "pkg:pypi/old-thing@1.0%2Blocal", "pkg:swift/example.com/team/x@def",
                "pkg:swift/github.com/apple/swift-log@1.6.1",
            ])
        let (root, bill) = try slug.bill()
        #expect(bill.count == 17 && bill.notes.isEmpty)
        #expect(root["bomFormat"]?.stringValue == "CycloneDX" && root["specVersion"]?.stringValue == "1.5")
        let app = root["metadata"]?["component"]
        #expect(app?["name"]?.stringValue == "shop")
        #expect(app?["components"]?.arrayValue?.first?["name"]?.stringValue == "debian-13")
        let components = try #require(root["components"]?.arrayValue)
        func component(_ purl: String) -> JSONValue? {
            components.first { $0["purl"]?.stringValue?.hasPrefix(purl) == true }
        }
        #expect(
            component("pkg:deb/debian/libpq5")?["hashes"]?.arrayValue?.first?["content"]?.stringValue == Self.digest)
        #expect(component("pkg:npm/%40types")?["group"]?.stringValue == "@types")
        #expect(component("pkg:generic/lua")?["licenses"]?.arrayValue?.count == 1)
        #expect(component("pkg:generic/lua")?["type"]?.stringValue == "framework")
        #expect(components.first?["type"]?.stringValue == "library" && components.first?["signature"] == nil)
        let places = component("pkg:npm/left-pad")?["evidence"]?["occurrences"]?.arrayValue?.compactMap {
            $0["location"]?.stringValue
        }
        #expect(
            places == ["node_modules/a/node_modules/left-pad/package.json", "node_modules/left-pad/package.json"])
        let text = String(decoding: bill.document, as: UTF8.self)
        #expect(!text.contains("secret") && !text.contains("user"))
    }

    @Test func equalTreesGiveEqualBytesAndOthersDoNot() throws {
        let one = try full(), two = try full()
        let a = try one.bill().bill.document
        #expect(try a == two.bill().bill.document)
        let serial = try #require(one.bill().root["serialNumber"]?.stringValue)
        #expect(
            serial.wholeMatch(of: /urn:uuid:[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}/) != nil
        )
        try two.write("node_modules/b/package.json", "{\"name\":\"b\",\"version\":\"1.0.0\"}")
        #expect(try two.bill().root["serialNumber"]?.stringValue != serial)
        #expect(try SoftwareBill(app: one.root, stack: "debian-12", name: "shop").document != a)
    }

    @Test func linksAreNotFollowedAndOddFilesDoNoHarm() throws {
        let slug = try Slug(), other = try full()
        symlink(other.root, slug.root + "/all")
        try slug.write("node_modules/keep", "")
        symlink(other.root + "/node_modules/left-pad", slug.root + "/node_modules/left-pad")
        try Files.makeDirectories(slug.root + "/node_modules/p")
        symlink(other.root + "/node_modules/left-pad/package.json", slug.root + "/node_modules/p/package.json")
        try Files.makeDirectories(slug.root + "/node_modules/fifo")
        mkfifo(slug.root + "/node_modules/fifo/package.json", 0o644)
        symlink("loop", slug.root + "/loop")
        let bill = try slug.bill().bill
        #expect(bill.count == 0 && bill.notes.isEmpty)
        #expect(throws: SystemError.self) { try SoftwareBill(app: slug.root + "/all", stack: "x", name: "x") }
    }

    @Test func whatCantBeUnderstoodIsCounted() throws {
        let slug = try Slug()
        try slug.write("node_modules/a/package.json", "{")
        try slug.write("x/site-packages/b.dist-info/METADATA", "nothing")
        try slug.write(
            "node_modules/big/package.json", [UInt8](repeating: 32, count: SoftwareBill.maximumFileBytes + 1))
        try slug.write(
            "node_modules/long/package.json", "{\"name\":\"\(String(repeating: "a", count: 600))\",\"version\":\"1\"}")
        let (root, bill) = try slug.bill()
        #expect(bill.notes == ["4 files or folders could not be read or understood."])
        #expect(root["metadata"]?["properties"]?.arrayValue?.count == 1)
    }

    @Test func foldersThatNestWithoutEndAreCut() throws {
        let slug = try Slug()
        let deep = Array(repeating: "d", count: SoftwareBill.maximumDepth + 2).joined(separator: "/")
        try slug.write(deep + "/node_modules/a/package.json", "{\"name\":\"a\",\"version\":\"1\"}")
        let bill = try slug.bill().bill
        #expect(bill.count == 0 && bill.notes.count == 1)
    }

    @Test func theDocumentKeepsToItsSize() throws {
        let components = (0..<40_000).map {
            SoftwareComponent(
                name: "p\($0)", version: String(repeating: "1", count: 300), purl: "pkg:npm/p\($0)", places: ["x"])
        }
        let bill = SoftwareBill(components, stack: "s", name: "n", notes: [])
        #expect(bill.document.count <= SoftwareBill.maximumBytes && bill.count > 1_000)
        #expect(bill.notes.count == 1)
    }

    @Test func twentyThousandFilesTakeASecond() throws {
        let slug = try Slug()
        for folder in 0..<200 {
            for file in 0..<99 { try slug.write("node_modules/p\(folder)/lib/f\(file).js", "x") }
            try slug.write("node_modules/p\(folder)/package.json", "{\"name\":\"p\(folder)\",\"version\":\"1.0.0\"}")
        }
        let begin = Monotonic.now()
        let bill = try slug.bill().bill
        let seconds = Monotonic.now() - begin
        #expect(bill.count == 200)
        // A build for tests is not optimised and shares its machine: the limit is for what grows with the square.
        #expect(seconds < 15, "\(seconds) s")
    }

    @Test func digestsAreThoseOfTheStandard() {
        func hex(_ text: String) -> String {
            SHA256.digest(of: Array(text.utf8)).map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
        }
        #expect(hex("") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")
        #expect(hex("abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")
        #expect(
            hex("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq")
                == "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1")
        #expect(
            hex(String(repeating: "a", count: 1_000))
                == "41edece42d63e8d9bf515a9ba6932e1c20cbc9f5a5d134645adb5db1b9737ea3")
    }

    @Test func addressesLoseTheirUsers() {
        for (text, wanted) in [
            ("https://u:p@host/x", "https://host/x"),
            ("a https://u@h and ssh://v:w@i:22/y", "a https://h and ssh://i:22/y"),
            ("https://host/a@b", "https://host/a@b"), ("none", "none"), ("x://a@b@c/", "x://c/"), ("://", "://"),
        ] { #expect(PackageLists.withoutCredentials(text) == wanted) }
    }

    @Test func packageURLsAreEncoded() {
        #expect(
            PackageURL.make("npm", namespace: ["@a"], name: "b c", version: "1+2", qualifiers: [("k", "v&w")])
                == "pkg:npm/%40a/b%20c@1%2B2?k=v%26w")
    }

    @Test func foreignListsAreReadOrRefusedWithoutHarm() throws {
        let slug = try full()
        let fuzz = Fuzz(defaultRounds: 400)
        let lists: [(String, [String])] = [
            (".packages", [".apt"]), ("status", ["var", "lib", "dpkg"]),
            ("METADATA", ["site-packages", "a.dist-info"]),
            ("package.json", ["node_modules", "a"]), ("Package.resolved", [".swift-bin"]),
            ("a.gemspec", ["specifications"]), ("installed.json", ["vendor", "composer"]),
            ("sbom.cdx.json", [".layers", "sbom", "launch", "x"]),
        ]
        let samples = try [
            ".apt/.packages", ".other/var/lib/dpkg/status", ".swift-bin/Package.resolved",
            "vendor/composer/installed.json",
            ".layers/sbom/launch/a_b/layer/sbom.cdx.json", "node_modules/@types/node/package.json",
            "vendor/bundle/ruby/3.3.0/specifications/rack-3.1.8.gemspec",
        ].map { try #require(try Files.read("\(slug.root)/\($0)")) }
        fuzz.mutations(
            of: samples, words: ["\"", "{", "}", "://", "@", "\n\n", "name", "version", "\t", "s.name = \""]
        ) { bytes in
            for (name, path) in lists {
                let reader = PackageLists.reader(name, path)
                let found = reader?(.init(name: name, path: path, bytes: bytes, stack: "s")) ?? []
                for component in found { #expect(!component.key.isEmpty) }
            }
        }
    }
}
