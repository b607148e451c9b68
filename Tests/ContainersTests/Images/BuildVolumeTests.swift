import Domain
import Glibc
import Logging
import OS
import Testing

@testable import Containers

@Suite struct BuildVolumeTests {
    private let size: Int64 = 96 << 20

    @Test func ownersAndFlagsOfANewVolume() throws {
        try ImageFixture.with { f throws in
            let build = BuildID.random(), app = AppID.random()
            let path = try f.service.createBuildVolume(
                build: build, app: app, uidSlot: 4, sizeBytes: size, clearCache: false)
            let paths = f.service.buildPaths(build: build)
            #expect(path == paths.app)
            let nobody = try #require(ProcessSpec.User.named("nobody"))
            #expect(try status(paths.app).st_uid == nobody.uid)
            for folder in [paths.cache, paths.tmp, paths.result] {
                #expect(try status(folder).st_uid == f.uid(4))
                #expect(try status(folder).st_mode & 0o777 == 0o700)
            }
            let mount = try #require(try f.mount(at: "\(f.root)/run/builds/\(build)"))
            #expect(mount.type == "ext4" && mount.options.isSuperset(of: ["rw", "nosuid", "nodev", "noatime"]))
            // The checkout's user can write into app, and nowhere else.
            var touch = ProcessSpec("/usr/bin/touch", [paths.app + "/file"])
            touch.user = nobody
            #expect(try Command(touch).run().status == 0)
            touch.arguments = [paths.cache + "/file"]
            #expect(try Command(touch).run().status != 0)
            // The image takes up next to nothing of the host's disk.
            #expect(try status("\(f.root)/data/builds/\(build).img").st_blocks * 512 < 8 << 20)
            #expect(try f.service.listBuildVolumes() == [build])
            try f.service.finishBuildVolume(build: build, app: app, keepCache: false)
            try f.service.finishBuildVolume(build: build, app: app, keepCache: false)
            #expect(try f.service.listBuildVolumes().isEmpty)
            #expect(!Files.exists("\(f.root)/run/builds/\(build)"))
            #expect(!Files.exists("\(f.root)/data/caches/\(app).img"))
        }
    }

    @Test func sealGivesEverythingAwayButFollowsNoLink() throws {
        try ImageFixture.with { f throws in
            let build = BuildID.random(), app = AppID.random()
            let path = try f.service.createBuildVolume(
                build: build, app: app, uidSlot: 4, sizeBytes: size, clearCache: false)
            try write(f.root + "/outside", "mine")
            try Files.makeDirectories(path + "/a/b")
            try write(path + "/a/b/c", "x")
            try Syscall.check("symlink") { symlink(f.root + "/outside", path + "/x") }
            try Syscall.check("symlink") { symlink("/etc", path + "/a/etc") }
            try f.service.sealSource(build: build, uidSlot: 4)
            try f.service.sealSource(build: build, uidSlot: 4)
            for name in ["", "/a", "/a/b", "/a/b/c", "/x", "/a/etc"] {
                #expect(try status(path + name).st_uid == f.uid(4))
            }
            #expect(try status(f.root + "/outside").st_uid == 0)
            #expect(try status("/etc").st_uid == 0)
            // A repeated create leaves the sealed source alone.
            _ = try f.service.createBuildVolume(build: build, app: app, uidSlot: 4, sizeBytes: size, clearCache: false)
            #expect(Files.exists(path + "/a/b/c"))

            func read(_ name: String) throws -> [UInt8]? {
                try f.service.readBuildFile(build: build, path: name, limit: 100)
            }
            #expect(try read("app/a/b/c") == Array("x".utf8))
            #expect(try read("app/none") == nil)
            #expect(try read("app/a/b/c/d") == nil)
            #expect(failure { _ = try read("app/x") }?.code == .invalid)
            #expect(failure { _ = try read("app/a/etc/passwd") }?.code == .invalid)
            #expect(failure { _ = try read("app/a") }?.code == .invalid)
            #expect(failure { _ = try read("../../outside") }?.code == .invalid)
            #expect(failure { _ = try read("/etc/passwd") }?.code == .invalid)
            try Syscall.check("mkfifo") { mkfifo(path + "/pipe", 0o600) }
            #expect(failure { _ = try read("app/pipe") }?.code == .invalid)
            try write(path + "/long", String(repeating: "y", count: 500))
            #expect(try read("app/long")?.count == 100)
        }
    }

    @Test func fullVolumeHarmsOnlyItself() throws {
        try ImageFixture.with { f throws in
            let full = BuildID.random(), other = BuildID.random()
            let a = try f.service.createBuildVolume(
                build: full, app: .random(), uidSlot: 1, sizeBytes: 32 << 20, clearCache: false)
            let b = try f.service.createBuildVolume(
                build: other, app: .random(), uidSlot: 2, sizeBytes: 32 << 20, clearCache: false)
            let error = #expect(throws: SystemError.self) {
                let file = try OwnedFD.open(a + "/fill", O_WRONLY | O_CREAT)
                while true { try file.writeAll([UInt8](repeating: 1, count: 1 << 20)) }
            }
            #expect(error?.errno == ENOSPC)
            try write(b + "/fine", "still")
            try f.service.sealSource(build: full, uidSlot: 1)
            #expect(try f.service.readBuildFile(build: full, path: "app/fill", limit: 1) == [1])
        }
    }

    @Test func cacheIsKeptOnSuccessOnly() throws {
        try ImageFixture.with { f throws in
            let app = AppID.random()
            func round(
                keep: Bool, clear: Bool = false, slot: Int = 1, size: Int64? = nil, _ body: (BuildPaths) throws -> Void
            ) throws {
                let build = BuildID.random()
                _ = try f.service.createBuildVolume(
                    build: build, app: app, uidSlot: slot, sizeBytes: size ?? self.size, clearCache: clear)
                try body(f.service.buildPaths(build: build))
                try f.service.finishBuildVolume(build: build, app: app, keepCache: keep)
            }
            try round(keep: true) { paths in
                try write(paths.cache + "/wheel", "first")
                try write(paths.app + "/left", "x")
                try write(paths.tmp + "/left", "x")
                try Files.makeDirectories(paths.result + "/left/deeper")
            }
            #expect(try status("\(f.root)/data/caches/\(app).img").st_blocks * 512 < 8 << 20)
            try round(keep: false) { paths in
                #expect(try Files.readText(paths.cache + "/wheel") == "first")
                for folder in [paths.app, paths.tmp, paths.result] { #expect(try Files.list(folder).isEmpty) }
                try write(paths.cache + "/wheel", "second")
            }
            try round(keep: true) { paths throws in #expect(try Files.readText(paths.cache + "/wheel") == "first") }
            // Asked to start empty; another size; another owner; then damaged.
            try round(keep: false, clear: true) { paths throws in #expect(try Files.list(paths.cache).isEmpty) }
            try round(keep: false, size: 64 << 20) { paths throws in #expect(try Files.list(paths.cache).isEmpty) }
            try round(keep: false, slot: 2) { paths throws in #expect(try Files.list(paths.cache).isEmpty) }
            let file = try OwnedFD.open("\(f.root)/data/caches/\(app).img", O_WRONLY)
            try file.writeAll([UInt8](repeating: 0xFF, count: 1 << 20))
            try round(keep: true) { paths in
                #expect(try Files.list(paths.cache).isEmpty)
                try write(paths.cache + "/wheel", "third")
            }
            try round(keep: false) { paths throws in #expect(try Files.readText(paths.cache + "/wheel") == "third") }
            try f.service.removeCache(app: app)
            try round(keep: false) { paths throws in #expect(try Files.list(paths.cache).isEmpty) }
        }
    }

    @Test func cacheThatFillsTheVolumeIsNotKept() throws {
        try ImageFixture.with { f throws in
            let app = AppID.random(), build = BuildID.random()
            _ = try f.service.createBuildVolume(
                build: build, app: app, uidSlot: 1, sizeBytes: 32 << 20, clearCache: false)
            let file = try OwnedFD.open(f.service.buildPaths(build: build).cache + "/big", O_WRONLY | O_CREAT)
            try file.writeAll([UInt8](repeating: 1, count: 20 << 20))
            try f.service.finishBuildVolume(build: build, app: app, keepCache: true)
            #expect(!Files.exists("\(f.root)/data/caches/\(app).img"))
        }
    }

    @Test func veryDeepTreesAreRemoved() throws {
        try ImageFixture.with { f throws in
            let app = AppID.random(), build = BuildID.random()
            _ = try f.service.createBuildVolume(build: build, app: app, uidSlot: 1, sizeBytes: size, clearCache: false)
            var folder = try OwnedFD.open(f.service.buildPaths(build: build).tmp, O_RDONLY | O_DIRECTORY)
            for _ in 0..<4000 {
                let raw = folder.raw
                try Syscall.check("mkdir") { mkdirat(raw, "d", 0o000) }
                folder = try FolderTree.open(folder, [UInt8(ascii: "d")], O_RDONLY | O_DIRECTORY)
            }
            folder = try OwnedFD.open("/", O_RDONLY | O_DIRECTORY)
            try f.service.finishBuildVolume(build: build, app: app, keepCache: true)
            #expect(Files.exists("\(f.root)/data/caches/\(app).img"))
            _ = folder.raw
        }
    }

    @Test func missingCheckoutUserIsExplained() throws {
        try ImageFixture.with { f throws in
            let service = ImageService(
                settings: f.settings, logger: Logger(label: "test"), checkoutUser: "no-such-user-here")
            let error = failure {
                _ = try service.createBuildVolume(
                    build: .random(), app: .random(), uidSlot: 1, sizeBytes: size, clearCache: false)
            }
            #expect(error?.code == .unavailable)
            #expect(error?.message.contains("no-such-user-here") == true)
        }
    }

    @Test func aTreeThatIsGivenAwayTakesBoundedMemory() throws {
        let path = "/tmp/slipway-give-\(getpid())"
        defer { _ = try? Files.removeTree(path) }
        for i in 0..<50 { try Files.makeDirectories("\(path)/folder-with-a-long-name-\(i)") }
        let root = try OwnedFD.open(path, O_RDONLY | O_DIRECTORY)
        let error = failure { try FolderTree.giveAway(root, uid: 1, gid: 1, waitingLimit: 500) }
        #expect(error?.code == .tooLarge)
        try FolderTree.giveAway(root, uid: 1, gid: 1, waitingLimit: 5000)
        for name in try Files.list(path) { #expect(try status("\(path)/\(name)").st_uid == 1) }
    }

    @Test func foldersWithManyNamesAreRemoved() throws {
        let path = "/tmp/slipway-many-\(getpid())"
        defer { _ = try? Files.removeTree(path) }
        for i in 0..<3 {
            try Files.makeDirectories("\(path)/tree/\(i)")
            for j in 0..<5000 { try Syscall.check("symlink") { symlink("x", "\(path)/tree/\(i)/\(j)") } }
        }
        try FolderTree.remove("tree", in: OwnedFD.open(path, O_RDONLY | O_DIRECTORY))
        #expect(try Files.list(path).isEmpty)
    }

    @Test func roomIsPromisedBeforeItIsTaken() throws {
        let path = "/tmp/slipway-disk-\(getpid())"
        defer { _ = try? Files.removeTree(path) }
        try Files.makeDirectories(path)
        var space = statvfs()
        try Syscall.check("statvfs") { statvfs(path, &space) }
        let free = Int64(space.f_bavail) * Int64(space.f_frsize)
        let disk = HostDisk(volumesDirectory: path)
        let half = free / 2
        try disk.withRoom(for: half, at: path + "/one") {
            // Nothing of the first is written yet.
            let error = failure { try disk.withRoom(for: half, at: path + "/two") {} }
            // Once more would not help: a build is refused at once.
            #expect(error?.code == .exhausted && error?.retry == .never)
            #expect(error?.message.contains("wait for other builds") == true)
        }
        try disk.withRoom(for: half, at: path + "/two") {}
        // A volume that is there keeps its promise, unless its build is over.
        let volume = try OwnedFD.open(path + "/v.img", O_WRONLY | O_CREAT)
        let raw = volume.raw
        try Syscall.check("ftruncate") { ftruncate(raw, off_t(half)) }
        #expect(failure { try disk.withRoom(for: half, at: path + "/two") {} }?.code == .exhausted)
        try disk.withRoom(for: half, at: path + "/two", ignoring: path + "/v.img") {}
    }
}
