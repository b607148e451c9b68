import Domain
import Testing

@Suite struct BuildFoldersTests {
    private func settings(_ environment: [String: String]) throws -> Settings {
        try Settings(environment: environment, file: "")
    }

    @Test func foldersAreReadAsGiven() throws {
        let none = try settings(["PAAS_BUILDPACK_DIRS": "", "PAAS_SWIFT_TOOLCHAIN": ""])
        #expect(none.buildpackFolders.isEmpty && none.swiftToolchain == nil)
        let some = try settings([
            "PAAS_BUILDPACK_DIRS": "/srv/packs/:/home/op/packs::/srv/packs:/opt/packs",
            "PAAS_SWIFT_TOOLCHAIN": "/opt/swift/",
        ])
        #expect(some.buildpackFolders == ["/srv/packs", "/home/op/packs", "/opt/packs"])
        #expect(some.swiftToolchain == "/opt/swift")
    }

    @Test(arguments: [
        "relative", "/", "/srv/../etc/x", "/srv//x", "/app/x", "/tmp", "/paas", "/usr/share/packs", "/opt",
        "/opt/swift/x",
        "/srv/a,b", "/srv/a b", "/layers", "/srv/./x",
    ])
    func foldersThatWouldHideABuildsOwnAreRefused(_ path: String) {
        let error = #expect(throws: PaaSError.self) { try settings(["PAAS_BUILDPACK_DIRS": path]) }
        #expect(error?.message.contains("PAAS_BUILDPACK_DIRS") == true)
    }

    @Test(arguments: ["/", "/opt/swift/usr", "/opt/swift/usr/bin", "swift"])
    func aToolchainIsTheFolderAboveUsr(_ path: String) {
        #expect(throws: PaaSError.self) { try settings(["PAAS_SWIFT_TOOLCHAIN": path]) }
    }
}
