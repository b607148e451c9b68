import Domain
import Glibc
import OS
import Testing

@testable import Lifecycle

/// The contract's table of what a build finds of the layers of the one before, row by row, by a buildpack that looks.
@Suite struct LayerMatrixTests {
    /// Makes a layer of each kind (`l-BCL`: build, cache, launch) the first time, and writes down what it finds later.
    /// `again` in the source says which layers it declares again, as `NAME FLAGS`.
    private static let script = """
        cd "$CNB_LAYERS_DIR"
        for build in 0 1; do for cache in 0 1; do for launch in 0 1; do
          name=l-$build$cache$launch
          echo "$name $([[ -e $name.toml ]] && echo toml) $([[ -e $name ]] && echo dir) $([[ -e $name.sbom.cdx.json ]] && echo sbom) $(tr '\\n' ' ' <$name.toml 2>/dev/null)" >>"$HOME/found"
        done; done; done
        flag() { [[ $1 == 1 ]] && echo true || echo false; }
        while read -r name flags; do
          printf '[types]\\nbuild = %s\\ncache = %s\\nlaunch = %s\\n[metadata]\\nis = "%s"\\n' \\
            "$(flag ${flags:0:1})" "$(flag ${flags:1:1})" "$(flag ${flags:2:1})" "$name" >$name.toml
        done <"$OLDPWD/again"
        if [[ -e $OLDPWD/make ]]; then
          while read -r name; do
            mkdir -p $name/deep
            echo "$name" >$name/deep/content
            ln -sf deep/content $name/link
            echo '{"bomFormat":"CycloneDX","specVersion":"1.5"}' >$name.sbom.cdx.json
          done <"$OLDPWD/make"
        fi
        """

    private let all = ["000", "001", "010", "011", "100", "101", "110", "111"]

    private func bench() throws -> (CNBBench, String) {
        let bench = try CNBBench()
        let pack = try bench.buildpack(
            "matrix", about: "sbom-formats = [\"application/vnd.cyclonedx+json\"]", build: Self.script)
        try bench.write("source/make", all.map { "l-\($0)\n" }.joined())
        try bench.write("source/again", all.map { "l-\($0) \($0)\n" }.joined())
        try bench.build([pack])
        try LayerTree.remove(bench.root + "/home/found")
        try LayerTree.remove(bench.root + "/source/make")
        return (bench, pack)
    }

    /// What the second build found of a layer, as words.
    private func found(_ bench: CNBBench) -> [String: [String]] {
        var out: [String: [String]] = [:]
        for line in (bench.text("home/found") ?? "").split(separator: "\n") {
            let words = line.split(separator: " ").map(String.init)
            out[words[0]] = Array(words.dropFirst())
        }
        return out
    }

    @Test func everyRowIsRestoredAsTheContractSays() throws {
        let (bench, pack) = try bench()
        try bench.write("source/again", "")
        try bench.build([pack])
        let found = found(bench)
        // Metadata come without the types, content with its links.
        func restored(_ flags: String, content: Bool) -> [String] {
            ["toml"] + (content ? ["dir"] : []) + ["sbom", "[metadata]", "is", "=", "\"l-\(flags)\""]
        }
        for flags in ["111", "110", "010", "011"] { #expect(found["l-\(flags)"] == restored(flags, content: true)) }
        #expect(found["l-001"] == restored("001", content: false))
        for flags in ["100", "101", "000"] { #expect(found["l-\(flags)"] == []) }
    }

    @Test func whatIsNotDeclaredAgainIsNeitherInTheSlugNorKept() throws {
        let (bench, pack) = try bench()
        #expect(
            try Files.list(bench.app + "/.layers/test_matrix") == ["l-001", "l-011", "l-101", "l-111"])
        try bench.write("source/again", "l-111 001\n")
        try bench.build([pack])
        #expect(try Files.list(bench.app + "/.layers/test_matrix") == ["l-111"])
        #expect(bench.text("app/.layers/test_matrix/l-111/deep/content") == "l-111\n")
        #expect(FileFacts(bench.app + "/.layers/test_matrix/l-111/link")?.isLink == true)
        // Restored and not declared: hidden from buildpacks that come later.
        #expect(Files.exists(bench.layers + "/test_matrix/l-010.ignore"))
        #expect(try Files.list(bench.cache + "/cnb/layers/test_matrix").filter { !$0.contains(".") } == ["l-111"])
    }

    @Test func launchLayersWithoutAFolderAreUsedAgain() throws {
        let (bench, pack) = try bench()
        // F,F,T as the contract has it; T,F,T, of which the next build finds nothing, may still ask for it by name.
        for _ in 0..<2 {
            try bench.write("source/again", "l-001 001\nl-101 101\n")
            try bench.build([pack])
            for name in ["l-001", "l-101"] {
                #expect(bench.text("app/.layers/test_matrix/\(name)/deep/content") == "\(name)\n")
            }
        }
        #expect(bench.lines.contains("       test/matrix: \"l-001\" is used again"))
        // Not by a layer that was never in a slug.
        try bench.write("source/again", "l-100 001\n")
        let failure = try #require(bench.failure([pack]))
        #expect(failure.exit == .compileFailed && failure.message.contains("\"l-100\""))
        // The failed build changed nothing of what is kept.
        try bench.write("source/again", "l-001 001\n")
        try bench.build([pack])
        #expect(bench.text("app/.layers/test_matrix/l-001/deep/content") == "l-001\n")
    }

    @Test func anotherStackOrEnvironmentStartsAnew() throws {
        let (bench, pack) = try bench()
        try bench.write("source/again", "l-111 111\n")
        try bench.write("source/make", "l-111\n")
        bench.environment = "test"
        try bench.build([pack])
        #expect(found(bench).values.allSatisfy { $0 == [] })
        #expect(
            bench.lines.contains(
                "-----> Cached layers are thrown away: the execution environment changed from production to test"))
        try LayerTree.remove(bench.root + "/home/found")
        bench.stack = "debian-12"
        try bench.build([pack])
        #expect(found(bench).values.allSatisfy { $0 == [] })
        #expect(bench.lines.contains { $0.hasSuffix("the stack changed from debian-13 to debian-12") })
        try LayerTree.remove(bench.root + "/home/found")
        try bench.write("cache/cnb/state.toml", "format = 0\n")
        try bench.build([pack])
        #expect(found(bench).values.allSatisfy { $0 == [] })
    }

    @Test func whatDidNotChangeIsNotWrittenAgain() throws {
        let (bench, pack) = try bench()
        let path = bench.cache + "/cnb/layers/test_matrix/l-111/deep/content"
        let before = try #require(FileFacts(path))
        try bench.write("source/again", "l-111 111\n")
        try bench.build([pack])
        #expect(FileFacts(path)?.inode == before.inode)
        try bench.write("source/make", "l-111\n")
        try bench.build([pack])
        #expect(FileFacts(path)?.inode != before.inode)
    }

    @Test func filesOfTheSameSizeAndTimeAreComparedByTheirBytes() throws {
        let bench = try CNBBench()
        for (name, text) in [("a", "one"), ("b", "one"), ("c", "two")] {
            try bench.write("\(name)/file", text)
            let time = [timespec(tv_sec: 1_000, tv_nsec: 0), timespec(tv_sec: 1_000, tv_nsec: 0)]
            #expect(utimensat(AT_FDCWD, "\(bench.root)/\(name)/file", time, 0) == 0)
        }
        #expect(try LayerTree.isSame(bench.root + "/a", bench.root + "/b"))
        #expect(try !LayerTree.isSame(bench.root + "/a", bench.root + "/c"))
    }

    @Test func foldersThatToolsMadeReadOnlyAreKept() throws {
        let bench = try CNBBench()
        let pack = try bench.buildpack(
            "modules",
            build: """
                cd "$CNB_LAYERS_DIR"
                if [[ -e mod ]]; then [[ $(<mod/a/x) == 1 ]]; else mkdir -p mod/a; echo 1 >mod/a/x; ln mod/a/x mod/y; chmod 0444 mod/a/x; chmod -R a-w mod; fi
                printf '[types]\\ncache = true\\nlaunch = true\\n' >mod.toml
                """)
        for _ in 0..<3 { try bench.build([pack]) }
        let one = try #require(FileFacts(bench.app + "/.layers/test_modules/mod/a/x"))
        #expect(one.mode & 0o7777 == 0o444)
        #expect(one.inode == FileFacts(bench.app + "/.layers/test_modules/mod/y")?.inode)
        #expect(try #require(FileFacts(bench.cache + "/cnb/layers/test_modules/mod/a")).mode & 0o222 == 0)
    }

    @Test func pipesAndSocketsAreLeftOutAndSaid() throws {
        let bench = try CNBBench()
        let pack = try bench.buildpack(
            "pipe",
            build:
                "mkdir -p \"$CNB_LAYERS_DIR/l\"; mkfifo \"$CNB_LAYERS_DIR/l/p\"; echo x >\"$CNB_LAYERS_DIR/l/f\"; printf '[types]\\ncache = true\\n' >\"$CNB_LAYERS_DIR/l.toml\""
        )
        try bench.build([pack])
        #expect(try Files.list(bench.cache + "/cnb/layers/test_pipe/l") == ["f"])
    }

    @Test func theRowsByThemselves() {
        for flags in all {
            let bits = flags.map { $0 == "1" }
            let row = LayerMetadata(launch: bits[2], build: bits[0], cache: bits[1]).restoration
            #expect(row.content == bits[1])
            #expect(row.metadata == (bits[1] || (bits[2] && !bits[0])))
        }
    }
}
