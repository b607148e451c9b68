import Domain
import OS
import Testing

@testable import Lifecycle

@Suite struct ProjectDescriptorTests {
    private func read(_ text: String) throws -> ProjectDescriptor { try ProjectDescriptor(Array(text.utf8)) }

    private func message(_ text: String) -> String {
        do {
            _ = try read(text)
            return ""
        } catch {
            return (error as? CNBFailure).map { $0.exit == .sourceUnusable ? $0.message : "\($0)" } ?? "\(error)"
        }
    }

    @Test func readsTheSchemaOfToday() throws {
        let project = try read(
            """
            [_]
            schema-version = "0.2"
            name = "x"
            [io.buildpacks]
            builder = "some/image"
            exclude = ["spec/", "!spec/keep"]
            [[io.buildpacks.group]]
            id = "example/lua"
            version = "1.0.0"
            [[io.buildpacks.group]]
            uri = "https://example.com/bp.tgz"
            [[io.buildpacks.pre.group]]
            uri = "./first"
            [[io.buildpacks.post.group]]
            id = "last"
            [[io.buildpacks.build.env]]
            name = "BP_X"
            value = "1"
            """)
        #expect(
            project.group.map { $0.uri ?? $0.id } == ["./first", "example/lua", "https://example.com/bp.tgz", "last"])
        #expect(project.exclude == ["spec/", "!spec/keep"])
        #expect(project.environment == ["BP_X": "1"])
        #expect(project.notes.count == 1)
    }

    @Test func readsTheOlderSchema() throws {
        let project = try read(
            """
            [project]
            id = "x"
            [build]
            include = ["*.go"]
            [[build.buildpacks]]
            id = "a"
            [[build.env]]
            name = "A"
            value = "b"
            """)
        #expect(project.group == [.init(id: "a", version: "", uri: nil)])
        #expect(project.include == ["*.go"] && project.environment == ["A": "b"])
        #expect(try read("[project]\nname = \"x\"") == read("[_]\nschema-version = \"0.1\""))
        #expect(try read("").group.isEmpty)
    }

    @Test func namesWhatIsWrong() {
        #expect(message("[_]\nschema-version = \"1.0\"").contains("supported are 0.1 and 0.2"))
        #expect(message("[build]\ninclude = [\"a\"]\nexclude = [\"b\"]").contains("keep one"))
        #expect(message("[build]\n[[build.buildpacks]]\nversion = \"1\"").contains("\"uri\" is missing"))
        #expect(
            message("[build]\n[[build.buildpacks]]\nid = \"a\"\n[build.buildpacks.script]\napi = \"0.12\"").contains(
                "script"))
        #expect(message("[build]\n[[build.env]]\nname = \"A B\"").contains("no name"))
        #expect(message("[build").contains("project.toml line 1"))
    }

    @Test func patternsAreThoseOfGitignore() throws {
        func matches(_ patterns: [String], _ path: String) throws -> Bool {
            let isFolder = path.hasSuffix("/")
            return try SourceSelection(patterns).matches(
                path.split(separator: "/").map { Array($0.utf8) }, isFolder: isFolder)
        }
        for (pattern, path, wanted) in [
            ("*.go", "a/b/c.go", true), ("/*.go", "a/c.go", false), ("/*.go", "c.go", true), ("a/b", "a/b", true),
            ("a/b", "x/a/b", false), ("**/b", "b", true), ("**/b", "x/y/b", true), ("a/**/b", "a/b", true),
            ("a/**/b", "a/x/y/b", true), ("a/**", "a/x", true), ("a/**", "a/", false), ("spec/", "spec/", true),
            ("spec/", "spec", false), ("a?c", "abc", true), ("a?c", "ac", false), ("[a-c]x", "bx", true),
            ("[!a-c]x", "bx", false), ("[]]x", "]x", true), ("\\*", "*", true), ("\\*", "a", false),
            ("a*b*c", "aXbYbZc", true), ("a*b*c", "aXc", false), ("*", "x/y", true), ("# no", "# no", false),
        ] { #expect(try matches([pattern], path) == wanted, "\(pattern) \(path)") }
        #expect(try !matches(["*.go", "!c.go"], "c.go"))
        #expect(throws: CNBFailure.self) { try SourceSelection(["a/../b"]) }
        #expect(throws: CNBFailure.self) { try SourceSelection(["/"]) }
        #expect(throws: CNBFailure.self) { try SourceSelection(["a["]) }
        // Patterns that make others take for ever.
        let stars = String(repeating: "*a", count: 400)
        #expect(try !matches([stars], String(repeating: "a", count: 200) + "b"))
        #expect(
            try !matches(
                ["**/" + String(repeating: "a/**/", count: 150) + "b"], String(repeating: "a/", count: 300) + "c"))
    }

    @Test func whatIsExcludedIsRemovedAndTheFileStays() throws {
        let bench = try CNBBench()
        func fill() throws {
            for path in ["a.go", "b.txt", "cmd/x/main.go", "cmd/x/notes.md", "spec/deep/one", "project.toml"] {
                try bench.write("tree/" + path, path)
            }
        }
        func tree(_ folder: String = "") throws -> [String] {
            try Files.list("\(bench.root)/tree/\(folder)").flatMap { name -> [String] in
                let path = folder + name
                return FileFacts("\(bench.root)/tree/\(path)")?.isFolder == true ? try tree(path + "/") : [path]
            }
        }
        try fill()
        #expect(
            try SourceSelection.apply(read("[build]\nexclude = [\"spec/\", \"*.md\"]"), to: bench.root + "/tree") == 2)
        #expect(try tree() == ["a.go", "b.txt", "cmd/x/main.go", "project.toml"])
        try fill()
        #expect(
            try SourceSelection.apply(
                read("[build]\ninclude = [\"*.go\", \"cmd/x/notes.md\"]"), to: bench.root + "/tree") == 2)
        #expect(try tree() == ["a.go", "cmd/x/main.go", "cmd/x/notes.md", "project.toml"])
        #expect(!Files.exists(bench.root + "/tree/spec"))
    }
}
