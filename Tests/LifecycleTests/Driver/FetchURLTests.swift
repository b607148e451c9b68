import Fuzzing
import Domain
import Testing

@testable import Lifecycle

@Suite struct FetchURLTests {
    @Test func anAddressIsTakenApart() throws {
        let url = try FetchURL("https://user:p%40ss@host.example:8443/a/b.git?token=t#v1")
        #expect(url.user == "user")
        #expect(url.password == "p@ss")
        #expect(url.host == "host.example:8443")
        #expect(url.path == "/a/b.git")
        #expect(url.fragment == "v1")
        #expect(url.withoutSecrets == "https://host.example:8443/a/b.git?token=t")
        #expect(url.printable == "https://host.example:8443/a/b.git?…")
        #expect(url.authorization == "Basic dXNlcjpwQHNz")
        #expect(url.secrets.contains("p@ss") && url.secrets.contains("token=t"))
    }

    @Test func gitsShortFormOfSSH() throws {
        let url = try FetchURL("git@host.example:team/pack.git#main")
        #expect(url.isShortSSH && url.scheme == .ssh)
        #expect(url.printable == "git@host.example:team/pack.git")
        #expect(url.fragment == "main")
        #expect(url.authorization == nil)
    }

    @Test(arguments: [
        ("git://host/x", "neither encrypts"), ("ext::sh -c id", "white space"), ("ext::sh", "runs commands"),
        ("docker://x/y", "registry of images"), ("urn:cnb:x", "registry of images"),
        ("https://-host/x", "names no host"),
        ("https:///x", "names no host"), ("ftp://h/x", "neither https"), ("https://h/a b", "white space"),
        ("https://u:%zz@h/x", "not encoded"), ("https://h$(id)/x", "names no host"), ("-u@h:x", "begins with -"),
        ("git@h:-x", "no path"), ("https://a\u{1b}[31m/x", "control characters"),
    ])
    func whatCantBeFetchedIsRefusedWithItsReason(text: String, reason: String) {
        do {
            _ = try FetchURL(text)
            Issue.record("\(text) was taken")
        } catch {
            #expect(error.reason.contains(reason), "\(text): \(error.reason)")
        }
    }

    @Test func archivesAreKnownByTheirEndings() throws {
        for ending in ["tgz", "tar.gz", "tbz", "tar", "tar.xz", "tar.zst", "TGZ"] {
            #expect(try FetchURL("https://h/x.\(ending)?a=b").isArchive)
        }
        #expect(try !FetchURL("https://h/x.git").isArchive)
        #expect(try !FetchURL("https://h/tar").isArchive)
    }

    @Test func noSecretOfAnyAddressIsPrinted() {
        var random = Seeded(state: 1)
        let letters = Array("aZ0:@/#?%.-[] \u{1b}".utf8)
        for _ in 0..<20_000 {
            let secret = "S3cr3t\(UInt32.random(in: 0...9, using: &random))"
            let head = random.pick(["https://", "http://", "ssh://", "", "file://"])
            let noise = String(decoding: random.bytes(upTo: 12, from: letters), as: UTF8.self)
            let tail = String(decoding: random.bytes(upTo: 12, from: letters), as: UTF8.self)
            guard let url = try? FetchURL("\(head)\(noise):\(secret)@h\(tail)"), url.password?.contains(secret) == true
            else { continue }
            #expect(!url.printable.contains(secret))
            #expect(!url.withoutSecrets.contains(secret))
        }
    }

    @Test func base64IsThatOfTheStandard() {
        for (text, wanted) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg==")] {
            #expect(Base64.encode(Array(text.utf8)) == wanted)
        }
    }

    @Test func refsThatGitWouldNotTakeAreRefused() {
        for ref in ["main", "v1.2.3", "feature/x", "a-b_c", "refs/heads/main"] { #expect(GitRef.isAllowed(ref)) }
        for ref in [
            "", "-x", "a..b", "a b", "a~1", "a^", "a:b", "a?", "a*", "[x", "a\\b", "/a", "a/", "a.lock", ".a", "@{-1}",
            "a//b",
        ] {
            #expect(!GitRef.isAllowed(ref), "\(ref)")
        }
    }
}

@Suite struct FetchFailureTests {
    @Test(arguments: [
        ("fatal: unable to access 'http://h/': Could not resolve host: h", FetchFailure.unknownHost),
        ("fatal: repository 'https://h/x.git/' not found", .notFound),
        ("fatal: unable to access 'http://h/': The requested URL returned error: 404", .notFound),
        ("fatal: could not read Username for 'https://h': terminal prompts disabled", .denied),
        ("fatal: Authentication failed for 'https://h/x'", .denied),
        (
            "fatal: unable to access 'http://h/': Failed to connect to h port 1 after 0 ms: Couldn't connect to server",
            .refused
        ),
        ("error: RPC failed; curl 28 Operation too slow. Less than 1000 bytes/sec", .timeout(seconds: 30)),
        ("fatal: unable to access 'http://h/': The requested URL returned error: 503", .status(503)),
        ("error: file write error: No space left on device", .diskFull),
    ])
    func whatGitSaysIsToldApart(text: String, wanted: FetchFailure) {
        #expect(FetchFailure.git(text, secrets: []) == wanted)
    }

    @Test func certificatesKeepTheirReason() {
        let text = "fatal: unable to access 'https://h/': SSL certificate problem: self-signed certificate"
        guard case .tls(let words) = FetchFailure.git(text, secrets: []) else { return #expect(Bool(false)) }
        #expect(words.contains("self-signed"))
    }

    @Test func wordsOfProgramsLoseTheirSecrets() {
        guard case .other(let words) = FetchFailure.git("fatal: odd thing with hunter2 in it", secrets: ["hunter2"])
        else {
            return #expect(Bool(false))
        }
        #expect(words == "fatal: odd thing with *** in it")
    }

    @Test func curlsExitCodesAreToldApart() {
        func failure(_ status: Int32, _ http: Int = 0) -> FetchFailure {
            .curl(status, http: http, text: "curl: (\(status)) words", seconds: 9, limit: 7, secrets: [])
        }
        #expect(failure(6) == .unknownHost)
        #expect(failure(7) == .refused)
        #expect(failure(22, 404) == .notFound)
        #expect(failure(22, 401) == .denied)
        #expect(failure(22, 500) == .status(500))
        #expect(failure(28) == .timeout(seconds: 9))
        #expect(failure(60) == .tls("curl: (60) words"))
        #expect(failure(63) == .tooLarge(limit: 7))
        #expect(failure(153) == .tooLarge(limit: 7))
    }
}
