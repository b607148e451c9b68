import Fuzzing
import Glibc
import OS
import Testing

@testable import Lifecycle

@Suite struct GlobPatternTests {
    private func matches(_ pattern: String, _ path: String, folder: Bool = false) -> Bool {
        GlobPattern(Array(pattern.utf8))?.matches(path.split(separator: "/").map { Array($0.utf8) }, isFolder: folder)
            ?? false
    }

    @Test(arguments: [
        ("*.md", "x.md", true), ("*.md", "a/b/x.md", true), ("/*.md", "a/x.md", false), ("/doc", "doc", true),
        ("/doc", "src/doc", false), ("doc", "src/doc", true), ("a/b", "a/b", true), ("a/b", "x/a/b", false),
        ("a/*", "a/b", true), ("a/*", "a/b/c", false), ("a/**", "a/b/c", true), ("a/**", "a", false),
        ("**/b", "b", true), ("**/b", "x/y/b", true), ("a/**/b", "a/b", true), ("a/**/b", "a/x/y/b", true),
        ("a/**/b", "a/x/y/c", false), ("?.c", "x.c", true), ("?.c", "xy.c", false), ("[a-c].c", "b.c", true),
        ("[!a-c].c", "b.c", false), ("[]x].c", "].c", true), ("\\*", "*", true), ("\\*", "x", false),
        ("**", "x/y", true),
        ("a*b*c", "aXbYc", true), ("a*b*c", "aXc", false),
    ])
    func patternsOfGitignore(pattern: String, path: String, wanted: Bool) {
        #expect(matches(pattern, path) == wanted)
    }

    @Test func aSlashAtTheEndIsForFolders() {
        #expect(matches("out/", "out", folder: true))
        #expect(!matches("out/", "out"))
        #expect(matches("out/", "a/out", folder: true))
    }

    @Test func noPatternTakesLong() {
        let pattern = String(repeating: "*a", count: 200) + "b"
        let name = String(repeating: "a", count: 250)
        let start = Monotonic.now()
        for _ in 0..<20 { #expect(!matches(pattern, name)) }
        let deep = String(repeating: "**/a/", count: 100) + "b"
        #expect(!matches(deep, String(repeating: "a/", count: 300) + "c"))
        #expect(Monotonic.now() - start < 5)
    }

    /// git itself is the judge: random patterns over random trees.
    @Test(arguments: [UInt64(11), 12, 13, 14])
    func whatGitIgnoresGoes(seed: UInt64) throws {
        var random = Seeded(state: seed)
        let folder = try Scratch()
        let tree = folder.path + "/tree"
        try Files.makeDirectories(tree)
        #expect(try folder.git(["init", "-q", tree]).status == 0)
        var paths: Set<String> = []
        for _ in 0..<60 {
            let parts = (0..<Int.random(in: 1...4, using: &random)).map { _ in
                random.pick(["a", "b", "ab", "a.c", "b.c", "abc"])
            }
            let path = parts.joined(separator: "/")
            // A file can't be a folder as well.
            if (1..<parts.count).contains(where: { paths.contains(parts.prefix($0).joined(separator: "/")) }) {
                continue
            }
            if paths.contains(where: { $0.hasPrefix(path + "/") }) { continue }
            paths.insert(path)
        }
        for path in paths {
            try Files.makeDirectories(Files.parent("\(tree)/\(path)"))
            try Files.writeDurably("\(tree)/\(path)", [])
        }
        for _ in 0..<40 {
            let lines = (0..<Int.random(in: 1...3, using: &random)).map { _ in
                String(decoding: random.bytes(upTo: 6, from: Array("aabbc./**?".utf8)), as: UTF8.self)
            }.filter { !$0.contains("//") && !$0.split(separator: "/").contains { $0 == "." || $0 == ".." } }
            let text = lines.joined(separator: "\n") + "\n"
            try Files.writeDurably("\(tree)/.git/info/exclude", text.utf8)
            let ignored = try folder.git(["-C", tree, "ls-files", "-z", "--others", "--exclude-standard"])
            let kept = Set(ignored.output.split(separator: 0).map { String(decoding: $0, as: UTF8.self) })
            let ignore = try SlugIgnore(Array(text.utf8))
            for path in paths.sorted() {
                let names = path.split(separator: "/").map { Array($0.utf8) }
                let goes = (1...names.count).contains {
                    ignore.matches(Array(names.prefix($0)), isFolder: $0 < names.count)
                }
                #expect(goes == !kept.contains(path), "\(lines) \(path)")
            }
        }
    }
}

@Suite struct SlugIgnoreTests {
    @Test func removesWithoutFollowingLinks() throws {
        let folder = try Scratch()
        for path in ["tree/doc/a", "tree/src/doc/b", "tree/x.md", "outside/y.md"] {
            try Files.makeDirectories(Files.parent("\(folder.path)/\(path)"))
            try Files.writeDurably("\(folder.path)/\(path)", [1])
        }
        #expect(symlink("../outside", folder.path + "/tree/link") == 0)
        let ignore = try SlugIgnore(Array("# comment\n\n/doc\r\n*.md   \n".utf8))
        #expect(try ignore.apply(to: folder.path + "/tree") == 2)
        #expect(!Files.exists(folder.path + "/tree/doc") && !Files.exists(folder.path + "/tree/x.md"))
        #expect(Files.exists(folder.path + "/tree/src/doc/b") && Files.exists(folder.path + "/outside/y.md"))
        #expect(try SlugIgnore(Array("link".utf8)).apply(to: folder.path + "/tree") == 1)
        #expect(Files.exists(folder.path + "/outside/y.md"))
    }

    @Test(arguments: ["!keep", "../x", "a/../b"])
    func whatCantBeMeantIsRefused(line: String) {
        #expect(throws: BuildStop.self) { try SlugIgnore(Array(line.utf8)) }
    }

}
