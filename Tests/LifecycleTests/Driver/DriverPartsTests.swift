import Domain
import Foundation
import Testing

@testable import Lifecycle

@Suite struct DriverRequestTests {
    private func request(_ extra: [String: String]) throws(BuildStop) -> DriverRequest {
        try DriverRequest(environment: ["STACK": "debian-13"].merging(extra) { $1 })
    }

    @Test func theSourceIsRead() throws {
        #expect(try request([:]).source == .present)
        #expect(try request(["PAAS_SOURCE": #"{"kind":"tar"}"#]).source == .tar)
        #expect(
            try request(["PAAS_SOURCE": #"{"kind":"git","url":"https://h/x","ref":""}"#]).source
                == .git(url: "https://h/x", ref: nil))
        for bad in ["{", "{}", #"{"kind":"git"}"#, #"{"kind":"cvs"}"#] {
            #expect(throws: BuildStop.self) { try request(["PAAS_SOURCE": bad]) }
        }
    }

    @Test func submodulesNeedAWholeCommit() throws {
        let id = String(repeating: "a", count: 40)
        let list = try request(["PAAS_SUBMODULES": #"[{"path":"x","commit":"\#(id)"}]"#]).submodules
        #expect(list == [.init(path: "x", commit: id)])
        #expect(throws: BuildStop.self) { try request(["PAAS_SUBMODULES": #"[{"path":"x","commit":"abc"}]"#]) }
    }

    @Test func theIdIsSafeInAPath() throws {
        #expect(try request(["REQUEST_ID": "../../x y"]).requestID == "xy")
        #expect(try request([:]).requestID == "build")
    }

    @Test func whatIsMissingIsNamed() {
        #expect(throws: BuildStop(.environmentIncomplete, "STACK is not set.")) { try DriverRequest(environment: [:]) }
    }
}

@Suite struct BuildEnvironmentTests {
    @Test func nothingOfThePlatformsOwnGetsIn() throws {
        let request = try DriverRequest(environment: ["STACK": "s"])
        let made = BuildEnvironment.make(
            request, platform: ["SECRET": "x", "GIT_DIR": "/x", "https_proxy": "http://p", "PAAS_NETWORK": "none"],
            image: "https_proxy=http://image\nSSL_CERT_FILE=\"/ca.pem\"\nLD_PRELOAD=/evil\nPATH=/evil\nno line",
            folder: "/app",
            home: "/h", artifacts: "/a")
        #expect(made["SECRET"] == nil && made["GIT_DIR"] == nil && made["LD_PRELOAD"] == nil)
        #expect(made["PATH"] == "/usr/local/bin:/usr/bin:/bin" && made["HOME"] == "/h" && made["STACK"] == "s")
        #expect(
            made["https_proxy"] == "http://p" && made["SSL_CERT_FILE"] == "/ca.pem" && made["PAAS_NETWORK"] == "none")
        #expect(made["PAAS_ARTIFACTS"] == "/a" && made["DYNO"] == "run.1" && made["SOURCE_VERSION"] == "")
    }
}

@Suite struct ProgramCheckTests {
    private func fault(_ text: String, there: Set<String> = ["/bin/bash", "/usr/bin/env", "/usr/bin/python3"])
        -> String?
    {
        ProgramCheck.fault(head: Array(text.utf8), path: "/usr/bin:/bin") { there.contains($0) }
    }

    @Test func whatRuns() {
        #expect(fault("#!/bin/bash\n") == nil)
        #expect(fault("#! /bin/bash -e\n") == nil)
        #expect(fault("#!/usr/bin/env python3\n") == nil)
        #expect(fault("#!/usr/bin/env -S python3 -u\n") == nil)
        #expect(fault("\u{7F}ELF") == nil)
    }

    @Test func whatDoesNotAndWhy() {
        #expect(fault("") == "is empty")
        #expect(fault("echo hi\n")?.contains("first line must be") == true)
        #expect(fault("#!/bin/bash\r\n")?.contains("Windows line ends") == true)
        #expect(fault("#!/usr/bin/ruby\n") == "needs \"/usr/bin/ruby\", which this stack does not have")
        #expect(fault("#!/usr/bin/env node\n") == "needs \"node\", which this stack does not have")
        #expect(fault("#!\n")?.contains("names no interpreter") == true)
    }

}

@Suite struct GitListsTests {
    @Test func aTreeIsMeasuredAndItsLinksFound() throws {
        let id = String(repeating: "b", count: 40)
        let text =
            "100644 blob \(id)     130\tmodel.bin\0100755 blob \(id)    5000\ta b\n\0120000 blob \(id)     130\tlink\0160000 commit \(id)       -\tvendor/x\0"
        let tree = try #require(GitTree(Array(text.utf8)))
        #expect(tree.files == 3 && tree.bytes == 5260)
        #expect(tree.gitlinks == [.init(path: "vendor/x", commit: id)])
        #expect(tree.pointerSized == ["model.bin"])
        #expect(GitTree(Array("nonsense".utf8)) == nil)
        #expect(GitTree(Array("100644 blob x 99999999999999999999\tp\0".utf8)) == nil)
    }

    @Test func modulesAreFoundByTheirPath() {
        let text =
            "submodule.a.b.path\nvendor/x\0submodule.a.b.url\nhttps://h/x\0submodule.c.url\nhttps://h/c\0core.x\ny\0submodule.path\nz\0"
        let modules = GitModules(listed: Array(text.utf8))
        #expect(modules.modules == [.init(path: "vendor/x", url: "https://h/x", update: nil)])
        #expect(modules["vendor/x"]?.url == "https://h/x" && modules["c"] == nil)
    }

    @Test func addressesOfModules() throws {
        let parent = try FetchURL("https://u:p@h/team/app.git")
        #expect(try GitModules.address("../lib.git", of: parent).printable == "https://h/team/lib.git")
        #expect(try GitModules.address("../../o/lib", of: parent).printable == "https://h/o/lib")
        #expect(try GitModules.address("./sub", of: parent).printable == "https://h/team/app.git/sub")
        #expect(try GitModules.address("git@h:x.git", of: nil).scheme == .ssh)
        for (url, base) in [
            ("../x", nil), ("../../../x", parent), ("/srv/x", parent), ("file:///x", parent), ("ext::sh", parent),
        ] {
            #expect(throws: FetchURL.Fault.self) { try GitModules.address(url, of: base) }
        }
    }

    @Test func pathsOfModulesStayInTheTree() {
        #expect(GitModules.names(of: "vendor/x") == ["vendor", "x"])
        for path in ["../x", "/x", "a/../b", ".git/hooks", "a/.GIT", "a//b", "."] {
            #expect(GitModules.names(of: path) == nil)
        }
    }

}

@Suite struct BuildReportDocumentTests {
    @Test func isWhatCodableReads() throws {
        let report = BuildReport(
            buildpacks: [.init(name: "a", url: "https://h/a", commit: "c"), .init(name: "b")], displayName: "A \"b\"\n",
            source: .init(commit: "c", tree: "t"), artifacts: [.init(url: "u", sha256: "s")], detected: true)
        for report in [report, BuildReport()] {
            #expect(try JSONDecoder().decode(BuildReport.self, from: Data(report.document.encoded())) == report)
        }
    }

    @Test func artifactsAreReadLineByLine() {
        let digest = String(repeating: "0a", count: 32)
        let text =
            "\(digest) https://u:p@h/x\n\(digest) https://u:p@h/x\nnonsense\n\(digest)\n\(digest.uppercased()) y z\n"
        #expect(
            ArtifactList.parse(Array(text.utf8)) == [
                .init(url: "https://h/x", sha256: digest), .init(url: "y z", sha256: digest),
            ])
    }

}
