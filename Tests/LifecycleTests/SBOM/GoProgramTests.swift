import Foundation
import Fuzzing
import Glibc
import OS
import Testing

@testable import Lifecycle

/// Programs as the Go linker makes them, as far as they are read.
enum GoSample {
    static let list =
        "path\texample.com/server/cmd\nmod\texample.com/server\t(devel)\t\ndep\texample.com/net\tv1.2.3\th1:x=\ndep\texample.com/old\tv1.0.0\th1:y=\n=>\texample.com/replaced\tv2.0.0\th1:z=\nbuild\t-compiler=gc\n"

    static func block(_ version: String = "go1.24.4", _ list: String = GoSample.list) -> [UInt8] {
        func text(_ bytes: [UInt8]) -> [UInt8] {
            var length = bytes.count
            var out: [UInt8] = []
            repeat {
                out.append(UInt8(length & 0x7F) | (length > 0x7F ? 0x80 : 0))
                length >>= 7
            } while length > 0
            return out + bytes
        }
        let frame = [UInt8](repeating: 0x30, count: 16)
        return [0xFF] + Array(" Go buildinf:".utf8) + [8, 2] + [UInt8](repeating: 0, count: 16)
            + text(Array(version.utf8)) + text(frame + Array(list.utf8) + frame)
    }

    /// A little-endian ELF file of 64 bits with the block in a section, or only in a segment.
    static func program(section: Bool = true) -> [UInt8] {
        func number(_ value: Int, _ width: Int) -> [UInt8] {
            (0..<width).map { UInt8(truncatingIfNeeded: value >> ($0 * 8)) }
        }
        var block = block()
        while block.count % 16 != 0 { block.append(0) }
        let data = 4_096
        let names = Array("\0.go.buildinfo\0.shstrtab\0".utf8)
        let tables = data + block.count
        var out: [UInt8] = [0x7F, 0x45, 0x4C, 0x46, 2, 1, 1] + [UInt8](repeating: 0, count: 9)
        out += number(2, 2) + number(62, 2) + number(1, 4) + number(0, 8) + number(64, 8)
        out +=
            number(section ? tables + names.count : 0, 8) + number(0, 4) + number(64, 2) + number(56, 2) + number(1, 2)
        out += number(64, 2) + number(section ? 3 : 0, 2) + number(section ? 2 : 0, 2)
        // One segment: loaded, readable and writable.
        out += number(1, 4) + number(6, 4) + number(data - 32, 8) + number(0, 16) + number(block.count + 32, 8)
        out += number(block.count + 32, 8) + number(4_096, 8)
        out += [UInt8](repeating: 0, count: data - out.count) + block + names
        func header(_ name: Int, _ offset: Int, _ size: Int) -> [UInt8] {
            number(name, 4) + number(1, 4) + number(0, 16) + number(offset, 8) + number(size, 8) + number(0, 24)
        }
        if section { out += header(0, 0, 0) + header(1, data, block.count) + header(15, tables, names.count) }
        return out
    }
}

@Suite struct GoProgramTests {
    private func read(_ bytes: [UInt8]) throws -> [String]? {
        var template = Array((NSTemporaryDirectory() + "/go.XXXXXX").utf8CString)
        let file = OwnedFD(mkstemp(&template))
        unlink(template)
        try file.writeAll(bytes)
        return GoProgram(file, size: Int64(bytes.count))?.components.compactMap(\.purl)
    }

    private let expected = [
        "pkg:golang/stdlib@1.24.4", "pkg:golang/example.com/server", "pkg:golang/example.com/net@v1.2.3",
        "pkg:golang/example.com/replaced@v2.0.0",
    ]

    @Test func findsTheListInASectionOrASegment() throws {
        #expect(try read(GoSample.program()) == expected)
        #expect(try read(GoSample.program(section: false)) == expected)
    }

    @Test func otherFilesAreNone() throws {
        #expect(try read(Array("#!/bin/sh\n".utf8)) == nil)
        #expect(try read(Array(GoSample.program().prefix(100))) == nil)
        #expect(try read(#require(try Files.read("/bin/true"))) == nil)
        var old = GoSample.block()
        old[15] = 0
        #expect(GoProgram.split(old) == nil)
    }

    @Test func theListIsReadLineByLine() {
        #expect(GoProgram.components(version: "go1.24.4 X:nocoverageredesign", list: "").map(\.version) == ["1.24.4"])
        #expect(
            GoProgram.components(version: "devel", list: "dep\tgithub.com/a/b\tv1\n").map(\.name) == ["github.com/a/b"])
        #expect(GoProgram.components(version: "", list: "=>\nmod\ndep\t\n\n").isEmpty)
    }

    @Test func brokenFilesAreReadOrRefusedWithoutHarm() throws {
        // The headers, with what they point to cut off or moved.
        let heads = [GoSample.program(), GoSample.program(section: false)]
        try Fuzz(defaultRounds: 300).mutations(of: heads, words: ["\u{7F}ELF", "\u{1}\u{1}", "\0\0\0\0"]) { bytes in
            _ = try read(bytes)
        }
        Fuzz(defaultRounds: 500).mutations(of: [GoSample.block()], words: ["\u{7F}", "\t", "\n=>\t"]) { bytes in
            if let (version, list) = GoProgram.split(bytes) { _ = GoProgram.components(version: version, list: list) }
        }
        var random = SplitMix(seed: 11)
        for _ in 0..<2_000 {
            var bytes = GoSample.program()
            for _ in 0..<4 { bytes[random.next(below: 120)] = UInt8(random.next(below: 256)) }
            _ = try read(bytes)
        }
    }
}
