import Domain
import Testing

@testable import Lifecycle

private let known = ["apt", "go", "native", "node", "procfile", "python", "static"]

private func stop(_ body: () throws(BuildStop) -> Void) -> BuildStop? {
    do throws(BuildStop) {
        try body()
        return nil
    } catch {
        return error
    }
}

@Suite struct WantedBuildpackTests {
    @Test func ownNamesInEachForm() throws {
        #expect(try WantedBuildpack("python", known: known) == .platform(name: "python", alias: nil))
        #expect(try WantedBuildpack("slipway/python", known: known) == .platform(name: "python", alias: nil))
        #expect(try WantedBuildpack("heroku/nodejs", known: known) == .platform(name: "node", alias: "heroku/nodejs"))
        #expect(
            try WantedBuildpack("heroku-community/apt", known: known)
                == .platform(name: "apt", alias: "heroku-community/apt"))
    }

    @Test func othersNamesWithoutAnEqualAreRefused() {
        let error = stop { () throws(BuildStop) in _ = try WantedBuildpack("heroku/scala", known: known) }
        #expect(error?.exit == .buildpackUnusable)
        #expect(error?.lines.joined().contains("none of ours does the same") == true)
        let unknown = stop { () throws(BuildStop) in _ = try WantedBuildpack("nonesuch", known: known) }
        #expect(unknown?.lines.joined().contains("apt go native") == true)
    }

    @Test func addresses() throws {
        guard case .git(let url, let ref) = try WantedBuildpack("https://h/team/pack.git#v2", known: known) else {
            return #expect(Bool(false))
        }
        #expect(url.path == "/team/pack.git" && ref == "v2")
        guard case .archive = try WantedBuildpack("https://h/pack.tgz", known: known) else {
            return #expect(Bool(false))
        }
        #expect(try WantedBuildpack("file:///srv/packs/x", known: known) == .folder("/srv/packs/x"))
        #expect(try WantedBuildpack("/srv/packs/x", known: known) == .folder("/srv/packs/x"))
        #expect(try WantedBuildpack("https://h/team/pack.git#v2", known: known).name == "pack")
        #expect(try WantedBuildpack("git@h:pack.git", known: known).name == "pack")
    }

    @Test(arguments: [
        "urn:cnb:builder:x", "docker://x", "https://h/x.tgz#v1", "file:///srv/../etc", "file:///srv#x",
        "https://h/x#a..b", "../x",
    ])
    func whatCantBeUsedIsRefused(text: String) {
        #expect(
            stop { () throws(BuildStop) in _ = try WantedBuildpack(text, known: known) }?.exit == .buildpackUnusable)
    }

    @Test func aQueryIsNoPartOfAGitAddress() {
        let error = stop { () throws(BuildStop) in _ = try WantedBuildpack("https://h/x.git?t=hunter2", known: known) }
        #expect(error?.lines == ["The buildpack address https://h/x.git?… has a query; give the token as user name."])
    }

    @Test func aPasswordInABrokenAddressIsNotPrinted() {
        let error = stop { () throws(BuildStop) in _ = try WantedBuildpack("https://u:hunter2@-h/x", known: known) }
        #expect(error?.lines.contains { $0.contains("hunter2") } == false)
    }
}

@Suite struct BuildpackListTests {
    @Test func aFileHasOneAddressALine() throws {
        let text = "\u{FEFF}# ours\r\n\r\nhttps://h/a.git#v1\r\n  slipway/python  \n#https://h/b\n"
        #expect(try BuildpackList.file(Array(text.utf8)) == ["https://h/a.git#v1", "slipway/python"])
        #expect(try BuildpackList.file([]) == [])
    }

    @Test func aFileThatCantBeReadNamesItsLine() {
        let two = stop { () throws(BuildStop) in _ = try BuildpackList.file(Array("a\nb c\n".utf8)) }
        #expect(two?.exit == .sourceUnusable && two?.lines.first?.contains("line 2") == true)
        #expect(stop { () throws(BuildStop) in _ = try BuildpackList.file([0xFF]) }?.exit == .sourceUnusable)
        let many = String(repeating: "x\n", count: 21)
        #expect(
            stop { () throws(BuildStop) in _ = try BuildpackList.file(Array(many.utf8)) }?.lines.first?.contains(
                "at most 20") == true)
    }

    @Test func aManifestsList() throws {
        func list(_ json: String) throws(BuildStop) -> [String]? { try BuildpackList.manifest(Array(json.utf8)) }
        #expect(
            try list(#"{"buildpacks":[{"url":"heroku/python"},{"url":" https://h/x "}]}"#) == [
                "heroku/python", "https://h/x",
            ])
        #expect(try list(#"{"buildpacks":[]}"#) == nil)
        #expect(try list("{}") == nil)
        for bad in [
            "[]", "{", #"{"buildpacks":"x"}"#, #"{"buildpacks":["x"]}"#, #"{"buildpacks":[{"url":""}]}"#,
            #"{"buildpacks":[{}]}"#,
        ] {
            #expect(stop { () throws(BuildStop) in _ = try list(bad) }?.exit == .sourceUnusable, "\(bad)")
        }
    }

}

@Suite struct BuildpackChoiceTests {
    /// Each way to name buildpacks, the stronger ones first.
    @Test func theStrongestDecides() throws {
        let all = BuildpackChoice.Inputs(
            setting: "python", configVar: "node", manifest: Array(#"{"buildpacks":[{"url":"go"}]}"#.utf8),
            file: Array("static\n".utf8),
            project: Array("[_]\nschema-version = \"0.2\"\n[[io.buildpacks.group]]\nid = \"slipway/native\"\n".utf8))
        var inputs = all
        func chosen() throws -> String {
            switch try BuildpackChoice(inputs, known: known) {
            case .detection: "detection"
            case .explicit(let list, let origin):
                list.map(\.printable).joined(separator: " ") + " by " + origin.rawValue
            }
        }
        #expect(try chosen() == "python by the app's list")
        inputs.setting = nil
        #expect(try chosen() == "node by BUILDPACK_URL")
        inputs.configVar = nil
        #expect(try chosen() == "go by app.json")
        inputs.manifest = Array("{}".utf8)
        #expect(try chosen() == "static by .buildpacks")
        inputs.file = Array("# none\n".utf8)
        #expect(try chosen() == "native by project.toml")
        inputs.project = nil
        #expect(try chosen() == "detection")
    }

    @Test func aBrokenManifestIsToldEvenWhereItDoesNotDecide() {
        let inputs = BuildpackChoice.Inputs(setting: "python", manifest: Array("{".utf8))
        #expect(stop { () throws(BuildStop) in _ = try BuildpackChoice(inputs, known: known) }?.exit == .sourceUnusable)
    }

    @Test func addressesOfAProjectAndFoldersOfItsOwn() throws {
        func wanted(_ group: String) throws -> [WantedBuildpack] {
            let inputs = BuildpackChoice.Inputs(project: Array("[_]\nschema-version = \"0.2\"\n\(group)".utf8))
            guard case .explicit(let list, .project) = try BuildpackChoice(inputs, known: known) else { return [] }
            return list
        }
        let group = """
            [[io.buildpacks.group]]
            uri = "https://h/pack.git"
            [[io.buildpacks.group]]
            id = "other/one"
            [[io.buildpacks.group]]
            uri = "./packs/mine"

            """
        #expect(try wanted(group).map(\.printable) == ["https://h/pack.git", "packs/mine"])
        #expect(try wanted(group).last == .inSource("packs/mine"))
        #expect(try wanted("") == [])
        for bad in ["docker://x/y", "urn:cnb:registry:x", "../outside"] {
            #expect(throws: BuildStop.self) { try wanted("[[io.buildpacks.group]]\nuri = \"\(bad)\"\n") }
        }
    }

    @Test func theFirstMatchWinsAndAllAreNamed() {
        #expect(DetectionOrder.winner(of: []) == nil)
        #expect(DetectionOrder.winner(of: ["native", "static", "procfile"])?.name == "native")
        #expect(DetectionOrder.winner(of: ["native", "static", "procfile"])?.rivals == ["native", "static"])
        #expect(DetectionOrder.winner(of: ["python", "procfile"])?.rivals == [])
        #expect(DetectionOrder.winner(of: ["procfile"])?.name == "procfile")
    }

    @Test func requirementsLoseToStrongNativeMarkersAndAMakefileToAll() {
        let order = DetectionOrder.order.map { "\($0.name) \($0.strength.rawValue)" }
        func place(_ entry: String) -> Int { order.firstIndex(of: entry) ?? -1 }
        #expect(place("native strong") < place("python weak"))
        #expect(place("python weak") < place("native weak"))
        #expect(place("native weak") < place("static any"))
        #expect(order.last == "procfile any")
    }
}
