import Domain
import Glibc
import Logging
import OS
import Testing

@testable import Containers

@Suite struct ImageServiceTests {
    @Test func oldKernelsAreRefusedWithTheReason() {
        for release in ["5.18.0", "5.4.0-150-generic", "4.19.0", "unknown"] {
            let error = failure { try ImageMounts.checkKernel(release: release) }
            #expect(error?.code == .unavailable)
            #expect(error?.message.contains("5.19") == true)
        }
        for release in ["5.19.0", "6.1.0-37-amd64", "6.12", "10.0.1"] {
            #expect(failure { try ImageMounts.checkKernel(release: release) } == nil)
        }
    }

    @Test func mountTableIsReadWithItsEscapes() {
        let line =
            "36 35 7:3 / /mnt/with\\040space\\134x rw,noatime,idmapped master:1 - ext4 /dev/loop3 rw,errors=continue\nshort line\n"
        let mounts = HostMount.parse(Array(line.utf8))
        #expect(mounts.count == 1)
        #expect(mounts.first?.target == "/mnt/with space\\x")
        #expect(mounts.first?.device == "7:3")
        #expect(mounts.first?.type == "ext4")
        #expect(mounts.first?.source == "/dev/loop3")
        #expect(mounts.first?.options == ["rw", "noatime", "idmapped"])
    }

    @Test func newEngineFindsWhatAKilledOneLeft() throws {
        try ImageFixture.with { f throws in
            let slug = try f.slug { try write($0 + "/a", "x") }
            let build = BuildID.random(), app = AppID.random()
            _ = try f.service.createBuildVolume(
                build: build, app: app, uidSlot: 1, sizeBytes: 64 << 20, clearCache: false)
            let used = f.root + "/m/used"
            try f.service.mountSlug(slug.digest, uidSlot: 1, at: used)
            // What a kill between two steps leaves: half files, a volume without its image, folders without a mount.
            let slugs = f.root + "/data/slugs", data = f.root + "/data", run = f.root + "/run"
            let hex = String(repeating: "0", count: 64)
            try write("\(slugs)/.pack.1", "half")
            try write("\(slugs)/\(hex).erofs.sha256", "sum without image")
            try write("\(data)/builds/\(BuildID.random()).img.new", "half")
            try Files.makeDirectories("\(run)/images/slug-\(hex)")
            try Files.makeDirectories("\(run)/builds/\(BuildID.random())")
            let lost = BuildID.random()
            _ = try f.service.createBuildVolume(
                build: lost, app: app, uidSlot: 1, sizeBytes: 64 << 20, clearCache: false)
            try Files.remove("\(data)/builds/\(lost).img")

            let next = try f.restarted()
            #expect(try Files.list(slugs) == ["\(slug.digest.hex).erofs", "\(slug.digest.hex).erofs.sha256"])
            #expect(try Files.list(data + "/builds") == ["\(build).img"])
            #expect(try Files.list(run + "/builds") == ["\(build)"])
            #expect(try Files.list(run + "/images") == ["slug-\(slug.digest.hex)"])
            #expect(try Files.readText(used + "/a") == "x")
            #expect(try next.listBuildVolumes() == [build])
            #expect(try next.readBuildFile(build: build, path: "app/none", limit: 1) == nil)
            // Mounting again where something is mounted replaces it.
            try next.mountSlug(slug.digest, uidSlot: 2, at: used)
            #expect(try status(used + "/a").st_uid == f.uid(2))
            #expect(try HostMount.all().filter { $0.target == used }.count == 1)

            // A shared mount whose last clone went while no engine ran.
            try Syscall.check("umount") { umount2(used, 0) }
            _ = try f.restarted()
            #expect(try Files.list(run + "/images").isEmpty)

            // After a reboot a volume is a file without a mount: its cache is not trusted.
            try Syscall.check("umount") { umount2("\(run)/builds/\(build)", 0) }
            #expect(failure { _ = try next.readBuildFile(build: build, path: "app/a", limit: 1) }?.code == .notFound)
            try next.finishBuildVolume(build: build, app: app, keepCache: true)
            #expect(try Files.list(data + "/caches").isEmpty)
            #expect(try next.listBuildVolumes().isEmpty)
        }
    }

    @Test func teardownLeavesNoMountAndNoLoopDevice() throws {
        try ImageFixture.with { f throws in
            let slug = try f.slug { try write($0 + "/a", "x") }
            for slot in 1...3 { try f.service.mountSlug(slug.digest, uidSlot: slot, at: "\(f.root)/m/\(slot)") }
            _ = try f.service.createBuildVolume(
                build: .random(), app: .random(), uidSlot: 1, sizeBytes: 64 << 20, clearCache: false)
            #expect(try HostMount.attachedFiles().filter { $0.hasPrefix(f.root) }.count == 2)
            try f.service.teardown()
            #expect(try HostMount.all().filter { $0.target.hasPrefix(f.root) }.isEmpty)
            #expect(try HostMount.attachedFiles().filter { $0.hasPrefix(f.root) }.isEmpty)
            #expect(try f.service.listSlugs() == [slug.digest])
        }
    }

    @Test func manyThreadsMountAndUnmountTheSameSlug() throws {
        try ImageFixture.with { f throws in
            let slug = try f.slug { try write($0 + "/a", "x") }
            let service = f.service, root = f.root
            let done = Pool()
            for slot in 0..<4 {
                Thread.start("mounter") {
                    done.finish(
                        failure {
                            for _ in 0..<3 {
                                try service.mountSlug(slug.digest, uidSlot: slot, at: "\(root)/m/\(slot)")
                                _ = try status("\(root)/m/\(slot)/a")
                                try service.unmount(at: "\(root)/m/\(slot)")
                            }
                        })
                }
            }
            #expect(done.wait(4).isEmpty)
            #expect(try HostMount.all().filter { $0.target.hasPrefix(root) }.isEmpty)
        }
    }
}

/// Collects what threads ended with.
private final class Pool: Sendable {
    private let ends = BlockingQueue()
    func finish(_ error: PaaSError?) { ends.put(error.map { "\(ErrorChain($0))" } ?? "") }
    func wait(_ count: Int) -> [String] { (0..<count).map { _ in ends.take() }.filter { !$0.isEmpty } }
}

/// Through a pipe, so that the taker blocks.
private final class BlockingQueue: Sendable {
    private let ends: [Int32]
    init() {
        var pair: [Int32] = [-1, -1]
        precondition(pipe(&pair) == 0)
        ends = pair
    }
    deinit { ends.forEach { _ = close($0) } }
    func put(_ text: String) {
        let bytes = Array(text.utf8.prefix(500))
        var record = [UInt8](repeating: 0, count: 512)
        record.replaceSubrange(0..<bytes.count, with: bytes)
        _ = Glibc.write(ends[1], record, 512)
    }
    func take() -> String {
        var record = [UInt8](repeating: 0, count: 512)
        guard Glibc.read(ends[0], &record, 512) == 512 else { return "queue" }
        return String(decoding: record.prefix { $0 != 0 }, as: UTF8.self)
    }
}
