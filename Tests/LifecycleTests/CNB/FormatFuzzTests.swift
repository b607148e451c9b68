import Fuzzing
import Testing

@testable import Lifecycle

/// Files of Cloud Native Buildpacks, cut and mixed: each is read, or refused by our own words, and never more than that.
@Suite struct FormatFuzzTests {
    private static let samples = [
        """
        api = "0.12"
        [buildpack]
        id = "a/b"
        version = "1.2.3"
        clear-env = true
        sbom-formats = ["application/spdx+json"]
        [[targets]]
        os = "linux"
        [[targets.distros]]
        name = "debian"
        [[order]]
        [[order.group]]
        id = "c"
        version = "1.0.0"
        optional = true
        """,
        """
        provides = [{ name = "x" }]
        [[requires]]
        name = "x"
        [requires.metadata]
        version = "1"
        when = 1979-05-27T07:32:00Z
        [[or]]
        [[or.requires]]
        name = 'y'
        """,
        """
        [types]
        launch = true
        [metadata]
        a.b = [1, 2.5, inf, "three", [true]] # comment
        """,
        """
        [[processes]]
        type = "web"
        command = ["x", '''
        y''']
        default = true
        exec-env = ["*"]
        [[labels]]
        key = "k"
        value = "v"
        [[slices]]
        paths = ["a/**"]
        [[buildpacks]]
        id = "a"
        api = "0.12"
        """,
        """
        [_]
        schema-version = "0.2"
        [io.buildpacks]
        include = ["*.go", "!x"]
        [[io.buildpacks.group]]
        uri = "https://example.com/x"
        [[io.buildpacks.build.env]]
        name = "A"
        value = \"\"\"
        b\"\"\"
        """,
    ].map { Array($0.utf8) }

    private static let words = [
        "[", "]", "[[", "]]", "{", "}", "=", ".", ",", "\"", "'", "\"\"\"", "'''", "#", "\n", "\r", "\\u0000", "\\",
        "\0",
        "\u{FEFF}", "\u{A0}", "0x", "1e", "-", "_", "T", ":", "+", "inf", "[=", "[ ]",
    ]

    @Test func everyFormatIsReadOrRefused() {
        // The library never gives back what a document took, so there is an end to how many one process can read.
        let asked = Fuzz()
        let fuzz = Fuzz(rounds: String(min(asked.rounds, 20_000)), seed: String(asked.seed))
        fuzz.mutations(of: Self.samples, words: Self.words) { bytes in
            _ = try? BuildpackDescriptor(bytes)
            _ = try? ProjectDescriptor(bytes)
            guard let root = try? TOMLDocument.parse(bytes, "x") else { return }
            // What was read is written as the same again.
            #expect((try? TOMLDocument.parse(root.map.encoded(), "again"))?.map == root.map)
            _ = try? BuildPlan(root)
            _ = try? LayerMetadata(root)
            _ = try? LaunchFile(root, buildpack: "a")
            if let metadata = try? LaunchMetadata(root) {
                #expect((try? LaunchMetadata(TOMLDocument.parse(metadata.encoded(), "m")))?.labels == metadata.labels)
            }
        }
    }
}
