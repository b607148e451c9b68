import Domain
import Glibc
import OS
import Testing

@testable import Lifecycle

/// Cloud Native Buildpacks as the driver hands them over.
@Suite struct DriverCloudNativeTests {
    private func cloudNative(_ build: DriverFixture, _ folder: String, _ id: String) throws {
        try build.scratch.write(
            "\(folder)/buildpack.toml",
            "api = \"0.10\"\n[buildpack]\nid = \"\(id)\"\nversion = \"1.0.0\"\n[[targets]]\n")
        try build.scratch.write("\(folder)/bin/detect", "#!/bin/bash\ntest -f program\n", mode: 0o755)
        try build.scratch.write(
            "\(folder)/bin/build",
            """
            #!/bin/bash
            mkdir -p "$CNB_LAYERS_DIR/tool/bin" && printf '[types]\nlaunch = true\n' >"$CNB_LAYERS_DIR/tool.toml"
            printf '[[processes]]\ntype = "web"\ncommand = ["./program"]\ndefault = true\n' >"$CNB_LAYERS_DIR/launch.toml"
            echo "built with $FROM_PROJECT and $(ls | tr '\n' ' ')"

            """, mode: 0o755)
    }

    @Test func aListOfCloudNativeBuildpacksIsHandedOver() throws {
        let build = try DriverFixture()
        try build.app("program", "#!/bin/sh\n", mode: 0o755)
        try cloudNative(build, "custom/native", "test/native")
        build.environment["PAAS_BUILDPACKS"] = "file://\(build.scratch.path)/custom/native"
        let ended = try build.build()
        #expect(ended.status == .built, "\(ended.output)")
        #expect(try build.text("result/release.yml").contains("/paas/lifecycle launch web"))
        #expect(build.has("app/.layers/config/metadata.toml"))
        #expect(
            try build.report().buildpacks == [
                .init(name: "test/native@1.0.0", url: "file://\(build.scratch.path)/custom/native")
            ])
        try build.pack("custom/classic")
        build.environment["PAAS_BUILDPACKS"] =
            "file://\(build.scratch.path)/custom/native file://\(build.scratch.path)/custom/classic"
        let mixed = try build.build()
        #expect(
            mixed.status == .buildpackUnusable && mixed.says("Cloud Native: native") && mixed.says("Classic: classic"),
            "\(mixed.output)")
    }

    @Test func aProjectNamesOneOfItsOwnFolders() throws {
        let build = try DriverFixture()
        try build.app("program", "#!/bin/sh\n", mode: 0o755)
        try build.app("secret.key", "x")
        try cloudNative(build, "root/app/packs/mine", "test/mine")
        try build.app(
            "project.toml",
            """
            [_]
            schema-version = "0.2"
            [io.buildpacks]
            exclude = ["*.key"]
            [[io.buildpacks.group]]
            uri = "packs/mine"
            [[io.buildpacks.build.env]]
            name = "FROM_PROJECT"
            value = "a wish"

            """)
        let ended = try build.build()
        #expect(ended.status == .built && ended.says("built with a wish and"), "\(ended.output)")
        #expect(!ended.says("secret.key") && !build.has("app/secret.key"))
        #expect(ended.says("named by project.toml: packs/mine"))
    }
}
