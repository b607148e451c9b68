import Fuzzing
import Glibc
import OS
import Testing

@testable import Lifecycle

private let limits = ArchiveCheck.Limits(bytes: 1 << 30, entries: 1000)

/// All entries of a tar, and whether it was whole.
private func read(_ bytes: [UInt8], steps: (Int) -> Int = { $0 }) throws -> (entries: [TarReader.Entry], complete: Bool)
{
    var reader = TarReader()
    var entries: [TarReader.Entry] = []
    var rest = bytes[...]
    while !rest.isEmpty {
        let part = rest.prefix(max(1, steps(rest.count)))
        rest = rest.dropFirst(part.count)
        entries += try reader.take(Array(part))
    }
    return (entries, reader.isComplete)
}

private func check(_ bytes: [UInt8], _ limits: ArchiveCheck.Limits = limits, archive: Int64? = nil) throws
    -> ArchiveCheck
{
    var check = ArchiveCheck(limits: limits, archiveBytes: archive ?? Int64(bytes.count))
    for entry in try read(bytes).entries { try check.take(entry) }
    try check.finish()
    return check
}

private func refusal(_ build: (inout TarBuilder) -> Void, _ limits: ArchiveCheck.Limits = limits, archive: Int64? = nil)
    throws -> String?
{
    var tar = TarBuilder()
    build(&tar)
    do {
        _ = try check(tar.finished, limits, archive: archive)
        return nil
    } catch let error as ArchiveCheck.Refusal {
        return error.reason
    }
}

@Suite struct TarReaderTests {
    @Test func eachKindOfEntry() throws {
        let (entries, complete) = try read(TarBuilder.sample.finished)
        #expect(complete)
        #expect(entries.map(\.kind) == [.folder, .file, .link, .hardLink, .file, .file])
        #expect(entries[0].path == Array("top".utf8) && entries[0].mode == 0o755)
        #expect(entries[1].size == 5)
        #expect(entries[2].target == Array("a".utf8))
        #expect(String(decoding: entries[4].path, as: UTF8.self).hasSuffix("üü") && entries[4].size == 600)
        #expect(entries[5].path.count == 154)
    }

    @Test func theSizeOfThePiecesDoesNotMatter() throws {
        let bytes = TarBuilder.sample.finished
        let whole = try read(bytes).entries
        var random = Seeded(state: 31)
        for _ in 0..<50 {
            let (entries, complete) = try read(bytes) { _ in Int.random(in: 1...700, using: &random) }
            #expect(entries == whole && complete)
        }
    }

    @Test func whatEndsTooEarlyIsSeen() throws {
        let bytes = TarBuilder.sample.bytes
        for count in [1, 511, 513, 512 * 3 + 100, bytes.count - 1] {
            #expect(try !read(Array(bytes.prefix(count))).complete, "\(count)")
        }
    }

}

@Suite struct ArchiveCheckTests {
    @Test func aGoodArchiveIsTakenAndItsTopFolderSeen() throws {
        var tar = TarBuilder()
        tar.add("top/", "5")
        tar.add("top/a", content: [1])
        tar.add("top/l", "2", target: "./a")
        tar.add("top/deep/m", "2", target: "../a")
        tar.add("top/h", "1", target: "top/a")
        #expect(try check(tar.finished).hasOneTopFolder)
        tar.add("other", content: [1])
        #expect(try !check(tar.finished).hasOneTopFolder)
    }

    @Test func whatLeavesTheTreeIsRefusedByName() throws {
        #expect(try refusal { $0.add("../evil") }?.contains("\"../evil\" with '..'") == true)
        #expect(try refusal { $0.add("a/../../evil") }?.contains("'..'") == true)
        #expect(try refusal { $0.add("/etc/passwd") }?.contains("absolute path \"/etc/passwd\"") == true)
        #expect(try refusal { $0.add("x", "2", target: "/etc") }?.contains("link \"x\" to \"/etc\"") == true)
        #expect(try refusal { $0.add("d/x", "2", target: "../../etc") }?.contains("outside of its tree") == true)
        #expect(try refusal { $0.add("x", "1", target: "/etc/passwd") }?.contains("absolute path") == true)
        #expect(try refusal { $0.add("x", "1", target: "../passwd") }?.contains("'..'") == true)
        #expect(try refusal { $0.add("x", "1", target: "y") }?.contains("no file of the archive before it") == true)
        #expect(try refusal { $0.add("dev", "3") }?.contains("device \"dev\"") == true)
        #expect(try refusal { $0.add("dev", "4") }?.contains("device") == true)
        #expect(try refusal { $0.add("p", "6") }?.contains("named pipe \"p\"") == true)
        #expect(try refusal { _ in } == "holds nothing")
    }

    @Test func nothingIsWrittenThroughALinkOfTheArchive() throws {
        let through = try refusal {
            $0.add("d", "2", target: "other")
            $0.add("d/file")
        }
        #expect(through?.contains("whose folder is a link") == true)
        let replaced = try refusal {
            $0.add("d/", "5")
            $0.add("d", "2", target: "other")
        }
        #expect(replaced?.contains("twice") == true)
    }

    @Test func linksThatOnlyTogetherLeadOutAreSeen() throws {
        // `a` is the root itself, so a/.. is above it.
        let text = try refusal {
            $0.add("r1")
            $0.add("a", "2", target: ".")
            $0.add("b", "2", target: "a/..")
        }
        #expect(text?.contains("link \"b\"") == true)
        let stripped = try refusal {
            $0.add("top/file")
            $0.add("top/l", "2", target: "../top/file")
        }
        #expect(stripped?.contains("outside") == true, "without the top folder it leads out")
    }

    @Test func bombsAreRefused() throws {
        let small = ArchiveCheck.Limits(bytes: 1000, entries: 3)
        #expect(
            try refusal({ $0.add("big", content: [UInt8](repeating: 0, count: 1001)) }, small)?.contains(
                "unpacks to more than") == true)
        #expect(
            try refusal({ tar in for index in 0..<4 { tar.add("f\(index)") } }, small)?.contains("more than 3 entries")
                == true)
        let ratio = try refusal(
            { $0.add("zeros", content: [UInt8](repeating: 0, count: 65 << 20)) }, archive: 1000)
        #expect(ratio?.contains("times its own size") == true)
    }

    /// The kernel is the judge: what passes is made on the disk, and no link of it leads out.
    @Test(arguments: [UInt64(41), 42, 43])
    func whatPassesStaysInsideOnTheDisk(seed: UInt64) throws {
        var random = Seeded(state: seed)
        var passed = 0
        for _ in 0..<150 {
            var tar = TarBuilder()
            tar.add("r")
            tar.add("s")
            var links: [(String, String)] = []
            for _ in 0..<Int.random(in: 1...5, using: &random) {
                let path = (0..<Int.random(in: 1...2, using: &random)).map { _ in random.pick(["a", "b", "c"]) }.joined(
                    separator: "/")
                let target = (0..<Int.random(in: 1...4, using: &random)).map { _ in
                    random.pick(["a", "b", "c", "..", "."])
                }.joined(separator: "/")
                links.append((path, target))
                tar.add(path, "2", target: target)
            }
            guard (try? check(tar.finished)) != nil else { continue }
            passed += 1
            let scratch = try Scratch()
            let root = scratch.path + "/tree"
            for (path, target) in links {
                try Files.makeDirectories(Files.parent("\(root)/\(path)"))
                #expect(symlink(target, "\(root)/\(path)") == 0)
            }
            for (path, target) in links {
                guard let real = realpath("\(root)/\(path)", nil) else { continue }
                defer { free(real) }
                let place = String(cString: real)
                #expect(place == root || place.hasPrefix(root + "/"), "\(links): \(path) -> \(target) is \(place)")
            }
        }
        #expect(passed > 10)
    }
}

@Suite struct ArchiveUnpackerTests {
    private func unpacker(_ scratch: Scratch, _ file: String) -> ArchiveUnpacker {
        ArchiveUnpacker(file: "\(scratch.path)/\(file)", environment: ["PATH": "/usr/bin:/bin"], limits: limits)
    }

    @Test(arguments: ["tgz", "tar.xz", "tar.zst", "tar", "tbz"])
    func realArchivesOfEachKind(ending: String) throws {
        let scratch = try Scratch()
        try scratch.write("src/top/bin/tool", "#!/bin/sh\n", mode: 0o755)
        try scratch.write("src/top/übung", "x")
        #expect(link(scratch.path + "/src/top/übung", scratch.path + "/src/top/again") == 0)
        #expect(symlink("bin/tool", scratch.path + "/src/top/link") == 0)
        #expect(mkdir(scratch.path + "/src/top/locked", 0o555) == 0)
        #expect(try scratch.run("/usr/bin/bsdtar", ["-c", "-a", "-f", "x.\(ending)", "-C", "src", "top"]).status == 0)
        let one = unpacker(scratch, "x.\(ending)")
        #expect(try one.check() == "top")
        try Files.makeDirectories(scratch.path + "/out")
        try one.unpack(into: scratch.path + "/out", withoutTopFolder: true)
        #expect(try scratch.text("out/übung") == "x" && scratch.text("out/again") == "x")
        #expect(try scratch.text("out/link") == "#!/bin/sh\n")
        var info = stat()
        #expect(stat(scratch.path + "/out/locked", &info) == 0 && info.st_mode & 0o777 == 0o755)
        #expect(stat(scratch.path + "/out/bin/tool", &info) == 0 && info.st_mode & 0o777 == 0o755)
        #expect(try one.sha256().count == 64)
    }

    /// What bsdtar itself reads out of an archive is what is looked at: `-P` keeps it from hiding a slash.
    @Test func evilEntriesAreSeenThroughBsdtar() throws {
        let evil: [(String, (inout TarBuilder) -> Void)] = [
            ("absolute path", { $0.add("/abs") }), ("'..'", { $0.add("../up") }), ("device", { $0.add("null", "3") }),
            ("link", { $0.add("l", "2", target: "/etc/passwd") }), ("hard link", { $0.add("h", "1", target: "gone") }),
            ("absolute path", { $0.add("h", "1", target: "/etc/passwd") }), ("named pipe", { $0.add("p", "6") }),
        ]
        for (word, build) in evil {
            let scratch = try Scratch()
            var tar = TarBuilder()
            tar.add("fine", content: [1])
            build(&tar)
            try Files.writeDurably(scratch.path + "/x.tar", tar.finished)
            do {
                _ = try unpacker(scratch, "x.tar").check()
                Issue.record("\(word) was taken")
            } catch {
                #expect(error.reason.contains(word), "\(error.reason)")
            }
        }
    }

    @Test func whatIsNoArchiveIsSaidSo() throws {
        let scratch = try Scratch()
        try scratch.write("x.tgz", "<html>Sign in</html>")
        try scratch.write("y.tar", "")
        for file in ["x.tgz", "y.tar", "none.tar"] {
            #expect(throws: ArchiveCheck.Refusal.self) { try unpacker(scratch, file).check() }
        }
    }

    @Test func aBombIsStoppedEarly() throws {
        let scratch = try Scratch()
        #expect(
            try scratch.run("/bin/sh", ["-c", "head -c 300000000 /dev/zero >z && bsdtar -czf bomb.tgz z && rm z"])
                .status == 0)
        do {
            _ = try unpacker(scratch, "bomb.tgz").check()
            Issue.record("taken")
        } catch {
            #expect(error.isSize && error.reason.contains("times its own size"))
        }
    }
}
