import Glibc
import OS
import Testing

@testable import Lifecycle

/// A little ELF file with nothing but what names its libraries.
enum ELFSample {
    static func program(needs libraries: [String]) throws -> [UInt8] {
        func bytes(_ value: Int, _ count: Int) -> [UInt8] {
            (0..<count).map { UInt8(truncatingIfNeeded: value >> (8 * $0)) }
        }
        var strings: [UInt8] = [0]
        var entries: [UInt8] = []
        for library in libraries {
            entries += bytes(1, 8) + bytes(strings.count, 8)
            strings += Array(library.utf8) + [0]
        }
        let dynamic = 64 + 2 * 56
        let table = dynamic + entries.count + 3 * 16
        entries += bytes(5, 8) + bytes(0x1000 + table, 8) + bytes(10, 8) + bytes(strings.count, 8) + bytes(0, 16)
        var out: [UInt8] = [0x7F, 0x45, 0x4C, 0x46, 2, 1, 1] + [UInt8](repeating: 0, count: 9)
        out += bytes(3, 2) + bytes(62, 2) + bytes(1, 4) + bytes(0, 8) + bytes(64, 8) + bytes(0, 8) + bytes(0, 4)
        out += bytes(64, 2) + bytes(56, 2) + bytes(2, 2) + bytes(0, 6)
        let total = table + strings.count
        out +=
            bytes(1, 4) + bytes(5, 4) + bytes(0, 8) + bytes(0x1000, 8) + bytes(0x1000, 8) + bytes(total, 8)
            + bytes(total, 8) + bytes(4096, 8)
        out +=
            bytes(2, 4) + bytes(6, 4) + bytes(dynamic, 8) + bytes(0x1000 + dynamic, 8) + bytes(0, 8)
            + bytes(entries.count, 8) + bytes(0, 16)
        return out + entries + strings
    }
}

@Suite struct LibraryCheckTests {
    private func needed(_ path: String) throws -> [String]? {
        let bytes = try Files.read(path) ?? []
        return ELFFile.needed { offset, count in
            offset < UInt64(bytes.count) ? Array(bytes[Int(offset)...].prefix(count)) : []
        }
    }

    @Test func realProgramsNameTheirLibraries() throws {
        #expect(try needed("/bin/bash")?.contains("libc.so.6") == true)
        #expect(try needed("/etc/passwd") == nil)
        let sample = try ELFSample.program(needs: ["liba.so.1", "libb.so"])
        #expect(
            ELFFile.needed { offset, count in Array(sample.dropFirst(Int(offset)).prefix(count)) } == [
                "liba.so.1", "libb.so",
            ])
    }

    @Test func whatProcessesWillNotFindIsNamedWithItsPackage() throws {
        let scratch = try Scratch()
        try scratch.write(
            "run",
            "Package: libc6\nStatus: install ok installed\n\nPackage: libgone1\nStatus: deinstall ok config-files\n")
        try scratch.write("info/libc6:amd64.list", "/.\n/lib/x86_64-linux-gnu/libc.so.6\n")
        try scratch.write("info/libgone1.list", "/usr/lib/x86_64-linux-gnu/libgone.so.1\n")
        let needs = ["libc.so.6", "libgone.so.1", "libown.so.2", "libnowhere.so.3"]
        try Files.makeDirectories(scratch.path + "/slug/bin")
        try Files.writeDurably(scratch.path + "/slug/bin/server", try ELFSample.program(needs: needs), mode: 0o755)
        try scratch.write("slug/lib/libown.so.2", "")
        let check = LibraryCheck(runPackages: scratch.path + "/run", packageLists: scratch.path + "/info")
        #expect(
            try check.missing(in: scratch.path + "/slug") == [
                .init(library: "libgone.so.1", user: "bin/server", package: "libgone1"),
                .init(library: "libnowhere.so.3", user: "bin/server", package: nil),
            ])
        let silent = LibraryCheck(runPackages: scratch.path + "/none", packageLists: scratch.path + "/info")
        #expect(try silent.missing(in: scratch.path + "/slug") == [])
    }
}
