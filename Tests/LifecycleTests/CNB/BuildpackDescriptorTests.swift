import Domain
import Testing

@testable import Lifecycle

@Suite struct BuildpackDescriptorTests {
    private func read(_ text: String) throws -> BuildpackDescriptor { try BuildpackDescriptor(Array(text.utf8)) }

    private func message(_ text: String) -> String {
        do {
            _ = try read(text)
            return ""
        } catch {
            return (error as? CNBFailure).map { "\($0.exit) \($0.message)" } ?? "\(error)"
        }
    }

    private let head = "api = \"0.12\"\n[buildpack]\nid = \"example/x\"\nversion = \"1.2.3\"\n"

    @Test func readsAComponent() throws {
        let descriptor = try read(
            """
            api = "0.10"
            [buildpack]
            id = "example/run-time"
            version = "1.20.3"
            name = "Run time"
            clear-env = true
            sbom-formats = ["application/vnd.cyclonedx+json;version=1.5", "application/spdx+json"]
            [[buildpack.exec-env]]
            name = "test"
            [[targets]]
            os = "linux"
            arch = "amd64"
            [[targets.distros]]
            name = "debian"
            version = "13"
            [metadata]
            anything = 1
            """)
        #expect(descriptor.words == "example/run-time@1.20.3")
        #expect(descriptor.folderName == "example_run-time")
        #expect(descriptor.clearEnvironment)
        #expect(descriptor.sbomFormats == [.cycloneDX, .spdx])
        #expect(descriptor.executionEnvironments == ["test"])
        #expect(!descriptor.isComposite)
        #expect(!descriptor.runs(in: "production"))
    }

    @Test func namesWhatIsWrong() {
        #expect(message("").contains("\"api\" is missing"))
        #expect(message("api = \"x\"").contains("\"api\" must be MAJOR.MINOR"))
        #expect(message("api = \"0.12\"").contains("\"buildpack\" is missing"))
        for id in ["a b", "a_b", "app", "config", "generated", "sbom", "..", "é"] {
            #expect(
                message("api = \"0.12\"\n[buildpack]\nid = \"\(id)\"\nversion = \"1.2.3\"").contains("\"buildpack.id\"")
            )
        }
        for version in ["1.2", "1.02.3", "1.2.x", "v1.2.3", "1.2.3.4", "1..3", "-1.2.3"] {
            #expect(
                message("api = \"0.12\"\n[buildpack]\nid = \"a\"\nversion = \"\(version)\"").contains(
                    "\"buildpack.version\""))
        }
        #expect(message(head + "sbom-formats = [\"text/plain\"]").contains("sbom-formats"))
        #expect(message(head + "[[order]]\n[[order.group]]\nid = \"a\"").contains("order[0].group[0].version"))
        #expect(
            message(head + "[[stacks]]\nid = \"*\"\n[[order]]\n[[order.group]]\nid = \"a\"\nversion = \"1.0.0\"")
                .contains(
                    "not allowed beside"))
    }

    @Test func anAPIThatIsNotKeptToIsNamedWithThoseThatAre() {
        for api in ["0.9", "0.13", "1", "1.0"] {
            let text = message("api = \"\(api)\"\n[buildpack]\nid = \"a\"\nversion = \"1.2.3\"")
            #expect(text.contains("buildpackUnusable") && text.contains("0.10, 0.11, 0.12"), "\(text)")
        }
        #expect(BuildpackAPI("2") == BuildpackAPI(2, 0))
        #expect(BuildpackAPI("0.12") ?? BuildpackAPI(9, 9) > BuildpackAPI(0, 9))
        for text in ["", ".", "1.", ".1", "1.2.3", "-1", "a"] { #expect(BuildpackAPI(text) == nil) }
    }

    @Test func targetsAndTheOlderStacksDecideWhereItRuns() throws {
        let debian = BuildTarget(architecture: "amd64", distribution: "debian", distributionVersion: "13")
        func supports(_ more: String) throws -> Bool { try read(head + more).supports(debian, stack: "debian-13") }
        #expect(try supports(""))
        #expect(try supports("[[targets]]\nos = \"linux\""))
        #expect(try supports("[[targets]]\narch = \"arm64\"\n[[targets]]\narch = \"amd64\""))
        #expect(try supports("[[targets]]\n[[targets.distros]]\nname = \"debian\""))
        #expect(try !supports("[[targets]]\nos = \"windows\""))
        #expect(try !supports("[[targets]]\n[[targets.distros]]\nname = \"ubuntu\"\nversion = \"24.04\""))
        #expect(try supports("[[stacks]]\nid = \"*\""))
        #expect(try supports("[[stacks]]\nid = \"debian-13\""))
        #expect(try !supports("[[stacks]]\nid = \"io.buildpacks.stacks.bionic\""))
        #expect(try supports("[[stacks]]\nid = \"*\"\n[[targets]]\nos = \"windows\""))
        let ubuntu = try read(head + "[[targets]]\n[[targets.distros]]\nname = \"ubuntu\"\nversion = \"24.04\"")
        #expect(ubuntu.targetWords == "ubuntu 24.04 on any/any")
        #expect(debian.words == "debian 13 on linux/amd64")
        #expect(debian.variables["CNB_TARGET_DISTRO_VERSION"] == "13")
    }
}
