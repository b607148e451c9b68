import Domain
import Glibc
import OS
import Testing

@Suite struct FilesTests {
    let root: String

    init() throws {
        root = "/tmp/slipway-os-\(InstanceID.random())"
        try Files.makeDirectories(root)
    }

    @Test func writesAreWholeAndReadBack() throws {
        defer { try? Files.removeTree(root) }
        let path = root + "/file"
        try Files.writeDurably(path, [1, 2, 3], mode: 0o640)
        try Files.writeDurably(path, [4, 5])
        #expect(try Files.read(path) == [4, 5])
        #expect(try Files.list(root) == ["file"])
        #expect(try Files.read(root + "/none") == nil)
        #expect(throws: SystemError.self) { try Files.read(path, limit: 1) }
    }

    @Test func canonicalPathsAreAsTheKernelWritesThem() throws {
        defer { try? Files.removeTree(root) }
        try Files.makeDirectories(root + "/real/run")
        try Syscall.check("symlink") { symlink(root + "/real", root + "/link") }
        #expect(Files.canonical(root + "/link/run") == root + "/real/run")
        #expect(Files.canonical(root + "//real/./run/") == root + "/real/run")
        #expect(Files.canonical(root + "/link/run/new//deep/./x") == root + "/real/run/new/deep/x")
        #expect(Files.canonical("/") == "/")
        #expect(Files.canonical("/no-such//thing") == "/no-such/thing")
        func settings(_ data: String, _ run: String) throws -> Settings {
            try Settings(
                environment: ["PAAS_DATA_DIR": root + data, "PAAS_RUN_DIR": root + run], file: "",
                canonical: Files.canonical)
        }
        let linked = try settings("/link/data", "//link/run"), real = try settings("/real/data", "/real/run")
        #expect(linked.dataDirectory == root + "/real/data" && linked.runDirectory == root + "/real/run")
        #expect(linked.instance == real.instance)
    }

    @Test func removingATreeFollowsNoLink() throws {
        let outside = root + "-outside"
        try Files.makeDirectories(outside + "/kept")
        defer { try? Files.removeTree(outside) }
        try Files.makeDirectories(root + "/a/b/c")
        try Syscall.check("symlink") { symlink(outside, root + "/a/link") }
        try Files.writeDurably(root + "/a/b/file\nwith newline", [1])
        try Files.removeTree(root)
        #expect(!Files.exists(root))
        #expect(Files.exists(outside + "/kept"))
        try Files.removeTree(root)
    }
}

@Suite struct FrameChannelTests {
    func pair() throws -> (FrameChannel, FrameChannel) {
        var ends: [Int32] = [-1, -1]
        try Syscall.check("socketpair") { socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0, &ends) }
        return (
            FrameChannel(OwnedFD(ends[0]), maximumBytes: 1 << 20), FrameChannel(OwnedFD(ends[1]), maximumBytes: 1 << 10)
        )
    }

    @Test func framesKeepTheirBordersAndTheEndIsSeen() throws {
        let (a, b) = try pair()
        for size in [0, 1, 255, 1024] { try a.send([UInt8](repeating: 7, count: size)) }
        for size in [0, 1, 255, 1024] { #expect(try b.receive()?.count == size) }
        a.shutdown()
        #expect(try b.receive() == nil)
    }

    @Test func aFrameAboveTheLimitIsRefused() throws {
        let (a, b) = try pair()
        try a.send([UInt8](repeating: 7, count: 2000))
        #expect(throws: SystemError.self) { try b.receive() }
        #expect(throws: SystemError.self) { try b.send([UInt8](repeating: 7, count: 2000)) }
    }
}

@Suite struct BlockingExecutorTests {
    @Test func workRunsOnItsOwnThreadsAndResultsComeBack() async throws {
        let executor = BlockingExecutor("test", width: 4)
        defer { executor.close() }
        let sum = await withTaskGroup(of: Int.self) { group in
            for n in 0..<200 { group.addTask { await executor.run { n } } }
            return await group.reduce(0, +)
        }
        #expect(sum == 199 * 200 / 2)
        await #expect(throws: SystemError.self) {
            try await executor.run { () throws(SystemError) -> Int in throw SystemError("x", errno: EIO) }
        }
    }

    @Test func aProcessIsKnownByItsStartTime() throws {
        #expect(try Host.startTime(of: getpid()) != nil)
        #expect(try Host.startTime(of: 4_000_000) == nil)
    }
}
