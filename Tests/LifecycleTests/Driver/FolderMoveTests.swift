import Glibc
import OS
import Testing

@testable import Lifecycle

/// Trees whose names are no text, moved and copied.
@Suite struct FolderMoveTests {
    /// A name that is no UTF-8.
    private let odd: [CChar] = [0x61, CChar(bitPattern: 0xFF), 0x62, 0]

    private func tree(_ scratch: Scratch) throws -> RawPath {
        try scratch.write("from/sub/file", "one")
        try Files.makeDirectories(scratch.path + "/to")
        let from = RawPath(scratch.path + "/from")
        let folder = from.appending(odd)
        #expect(mkdir(folder.bytes, 0o755) == 0)
        try folder.appending(odd).open(O_WRONLY | O_CREAT, mode: 0o644).writeAll("odd".utf8)
        #expect(link(scratch.path + "/from/sub/file", scratch.path + "/from/twin") == 0)
        #expect(symlink("/nowhere", scratch.path + "/from/link") == 0)
        try Files.setMode(scratch.path + "/from/sub", 0o555)
        let time = [timespec(tv_sec: 1_000, tv_nsec: 5), timespec(tv_sec: 1_000, tv_nsec: 5)]
        #expect(utimensat(AT_FDCWD, scratch.path + "/from/twin", time, 0) == 0)
        return from
    }

    private func check(_ scratch: Scratch) throws {
        let to = RawPath(scratch.path + "/to")
        #expect(try to.appending(odd).appending(odd).open(O_RDONLY).readFully(8) == Array("odd".utf8))
        let facts = try #require(FileFacts(scratch.path + "/to/twin"))
        #expect(facts.inode == FileFacts(scratch.path + "/to/sub/file")?.inode && facts.modified == [1_000, 5])
        #expect(FileFacts(scratch.path + "/to/link")?.isLink == true)
        #expect(FileFacts(scratch.path + "/to/sub").map { $0.mode & 0o7777 } == 0o555)
        try Files.setMode(scratch.path + "/to/sub", 0o755)
    }

    @Test func byRenaming() throws {
        let scratch = try Scratch()
        let from = try tree(scratch)
        #expect(try FolderMove.contents(of: from.text, to: scratch.path + "/to").isEmpty)
        #expect(try from.names().isEmpty)
        try check(scratch)
    }

    @Test(arguments: [EXDEV, EACCES, EPERM]) func byCopyingWhatCantBeRenamed(code: Int32) throws {
        let scratch = try Scratch()
        let from = try tree(scratch)
        #expect(mkfifo(from.text + "/pipe", 0o644) == 0)
        let left = try FolderMove.contents(of: from.text, to: scratch.path + "/to") { _, _ in
            errno = code
            return -1
        }
        #expect(left == [from.text + "/pipe"] && !scratch.has("to/pipe"))
        #expect(try from.names().isEmpty)
        try check(scratch)
    }

    @Test func otherFailuresEndIt() throws {
        let scratch = try Scratch()
        let from = try tree(scratch)
        #expect(throws: BuildStop.self) {
            _ = try FolderMove.contents(of: from.text, to: scratch.path + "/to") { _, _ in
                errno = EIO
                return -1
            }
        }
        #expect(try from.names().count == 4)
        try Files.setMode(scratch.path + "/from/sub", 0o755)
    }

    @Test func layersAreComparedCopiedAndRemoved() throws {
        let scratch = try Scratch()
        let from = try tree(scratch)
        try LayerTree.remove(scratch.path + "/to")
        #expect(try LayerTree.copy(from.text, to: scratch.path + "/to").isEmpty)
        #expect(try LayerTree.isSame(from.text, scratch.path + "/to"))
        try check(scratch)
        try LayerTree.remove(from.text)
        #expect(!scratch.has("from"))
    }
}
