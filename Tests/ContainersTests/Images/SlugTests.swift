import CShim
import Crypto
import Domain
import Glibc
import OS
import Testing

@testable import Containers

@Suite struct SlugTests {
    @Test func equalTreesGiveEqualDigestsAndImages() throws {
        try ImageFixture.with { f throws in
            func fill(_ reversed: Bool) -> (String) throws -> Void {
                { path in
                    try Files.makeDirectories(path + "/lib/deep")
                    let files = [("b.txt", "two"), ("a.txt", "one"), ("lib/deep/c", "three")]
                    for (name, text) in reversed ? files.reversed() : files { try write("\(path)/\(name)", text) }
                    try Syscall.check("symlink") { symlink("a.txt", path + "/link") }
                    try Files.makeDirectories(path + "/.git/objects")
                    try write(path + "/.git/HEAD", reversed ? "x" : "y")
                }
            }
            let first = try f.slug(slot: 1, fill(false))
            let image = "\(f.root)/data/slugs/\(first.digest.hex).erofs"
            let bytes = try #require(try Files.read(image))
            #expect(first.imageBytes == Int64(bytes.count))
            try f.service.removeSlug(first.digest)
            let second = try f.slug(slot: 7, fill(true))
            #expect(first == second)
            #expect(first.files == 3)
            #expect(try Files.read(image) == bytes)
            #expect(try f.service.listSlugs() == [first.digest])
            // Packing what is there already changes nothing.
            #expect(try f.slug(slot: 2, fill(false)) == first)
            #expect(try Files.list(f.root + "/data/slugs").count == 2)
        }
    }

    @Test func mountedSlugHasTheAppsOwnUidAndNoRights() throws {
        try ImageFixture.with { f throws in
            let slug = try f.slug { path in
                try write(path + "/run", "#!/bin/sh\n", mode: 0o6755)
                try write(path + "/secret", "x", mode: 0o200)
                try write(path + "/page", "x", mode: 0o664)
            }
            let one = f.root + "/m/one", two = f.root + "/m/two"
            try f.service.mountSlug(slug.digest, uidSlot: 1, at: one)
            try f.service.mountSlug(slug.digest, uidSlot: 2, at: two)
            for (path, slot) in [(one, 1), (two, 2)] {
                let info = try status(path + "/run")
                #expect(info.st_uid == f.uid(slot) && info.st_gid == f.uid(slot))
                #expect(info.st_mode & 0o7777 == 0o755)
                #expect(try status(path).st_uid == f.uid(slot))
                #expect(try status(path + "/secret").st_mode & 0o777 == 0o600)
                #expect(try status(path + "/page").st_mode & 0o777 == 0o664)
                let mount = try #require(try f.mount(at: path))
                #expect(mount.options.isSuperset(of: ["ro", "nosuid", "nodev", "idmapped"]))
                #expect(open(path + "/new", O_WRONLY | O_CREAT, 0o600) == -1 && errno == EROFS)
            }
            // As seen from a user namespace with the slot's range: uid 1000.
            let map = "0 \(f.uid(2) - 1000) 65536"
            let userns = OwnedFD(try Syscall.shim("user namespace", slipway_userns_create(map, map)))
            let seen = try output(
                "/usr/bin/nsenter",
                [
                    "--user=/proc/\(getpid())/fd/\(userns.raw)", "--setuid=0", "--setgid=0", "stat", "-c", "%u:%g",
                    two + "/run",
                ])
            _ = userns.raw
            #expect(seen == "1000:1000\n")

            #expect(failure { try f.service.removeSlug(slug.digest) }?.code == .conflict)
            try f.service.unmount(at: one)
            try f.service.unmount(at: one)
            #expect(try f.mount(at: one) == nil)
            #expect(try status(two + "/run").st_uid == f.uid(2))
            try f.service.unmount(at: two)
            #expect(try HostMount.attachedFiles().filter { $0.hasPrefix(f.root) }.isEmpty)
            try f.service.removeSlug(slug.digest)
            #expect(failure { try f.service.mountSlug(slug.digest, uidSlot: 1, at: one) }?.code == .notFound)
        }
    }

    @Test func damagedImageIsNotMounted() throws {
        try ImageFixture.with { f throws in
            let slug = try f.slug { try write($0 + "/a", String(repeating: "payload", count: 5000)) }
            let image = "\(f.root)/data/slugs/\(slug.digest.hex).erofs"
            let file = try OwnedFD.open(image, O_RDWR)
            let raw = file.raw
            var byte: UInt8 = 0xAA
            try Syscall.check("pwrite") { pwrite(raw, &byte, 1, 4100) }
            let error = failure { try f.service.mountSlug(slug.digest, uidSlot: 1, at: f.root + "/m") }
            #expect(error?.code == .internal)
            #expect(error?.message.contains("damaged") == true)
        }
    }

    @Test func aDamagedImageIsReplacedByTheNextBuild() throws {
        try ImageFixture.with { f throws in
            let fill: (String) throws -> Void = { try write($0 + "/a", String(repeating: "payload", count: 5000)) }
            let slug = try f.slug(fill)
            let image = "\(f.root)/data/slugs/\(slug.digest.hex).erofs"
            let old = f.root + "/m/old", new = f.root + "/m/new"
            try f.service.mountSlug(slug.digest, uidSlot: 1, at: old)
            let file = try OwnedFD.open(image, O_RDWR)
            let raw = file.raw
            var byte: UInt8 = 0xAA
            try Syscall.check("pwrite") { pwrite(raw, &byte, 1, 4100) }
            #expect(try f.slug(slot: 2, fill) == slug)
            // Also while the damaged one is in use.
            try f.service.mountSlug(slug.digest, uidSlot: 1, at: new)
            #expect(try Files.readText(new + "/a")?.hasPrefix("payloadpayload") == true)
            #expect(try f.mount(at: new)?.device != f.mount(at: old)?.device)
            #expect(failure { try f.service.removeSlug(slug.digest) }?.code == .conflict)
            for place in [old, new] { try f.service.unmount(at: place) }
            try f.service.removeSlug(slug.digest)
            #expect(try HostMount.attachedFiles().filter { $0.hasPrefix(f.root) }.isEmpty)
        }
    }

    @Test func aFullDiskIsNamed() throws {
        try ImageFixture.with { f throws in
            let slugs = f.root + "/data/slugs"
            try Syscall.shim("mount", slipway_mount("small", slugs, "tmpfs", 0, "size=256k"))
            defer { _ = slipway_unmount(slugs, 0) }
            let error = failure {
                _ = try f.slug { path in
                    let random = try OwnedFD.open("/dev/urandom", O_RDONLY).readFully(2 << 20)
                    try Files.writeDurably(path + "/random", random)
                }
            }
            #expect(error?.code == .unavailable)
            #expect(error?.message.contains("disk is full") == true)
            #expect(try Files.list(slugs).isEmpty)
        }
    }

    @Test func namesThatTakeTooMuchMemoryAreRefused() throws {
        let folder = "/tmp/slipway-names-\(getpid())"
        defer { _ = try? Files.removeTree(folder) }
        try Files.makeDirectories(folder)
        for i in 0..<20 { try write("\(folder)/\(i)-" + String(repeating: "n", count: 100), "") }
        let root = try OwnedFD.open(folder, O_RDONLY | O_DIRECTORY)
        let error = failure { _ = try SlugTree(root, limitBytes: 1 << 30, pathBytesLimit: 1000) }
        #expect(error?.code == .tooLarge)
        #expect(error?.message.contains("shorter names") == true)
        #expect(failure { _ = try SlugTree(root, limitBytes: 1 << 30) } == nil)
    }

    @Test func specialFilesAreRefusedByName() throws {
        try ImageFixture.with { f throws in
            let pipe = failure { _ = try f.slug { p in try Syscall.check("mkfifo") { mkfifo(p + "/a pipe", 0o600) } } }
            #expect(pipe?.code == .invalid && pipe?.message.contains("\"a pipe\" is a named pipe") == true)
            let socket = failure {
                _ = try f.slug { path in
                    try Files.makeDirectories(path + "/run")
                    _ = try UnixSocket.listen(path + "/run/s.sock", mode: 0o600).raw
                }
            }
            #expect(socket?.code == .invalid && socket?.message.contains("\"run/s.sock\" is a socket") == true)
            let device = failure {
                _ = try f.slug { p in try Syscall.check("mknod") { mknod(p + "/null", S_IFCHR | 0o666, 0x103) } }
            }
            #expect(device?.code == .invalid && device?.message.contains("is a device") == true)
            #expect(try f.service.listSlugs().isEmpty)
            #expect(try Files.list(f.root + "/data/slugs").isEmpty)
        }
    }

    @Test func limitIsEnforced() throws {
        try ImageFixture.with { f throws in
            let error = failure {
                _ = try f.slug(limit: 1 << 20) { path in
                    let file = try OwnedFD.open(path + "/sparse", O_WRONLY | O_CREAT)
                    let raw = file.raw
                    try Syscall.check("ftruncate") { ftruncate(raw, 64 << 20) }
                }
            }
            #expect(error?.code == .tooLarge)
            #expect(error?.message.contains("limit of 1 MiB") == true)
        }
    }

    @Test func linksStayLinksAndAreNeverFollowed() throws {
        try ImageFixture.with { f throws in
            let before = try status("/etc/passwd")
            let slug = try f.slug { path in
                try Syscall.check("symlink") { symlink("/etc/passwd", path + "/x") }
                try Syscall.check("symlink") { symlink("../../../../etc", path + "/etc") }
            }
            let after = try status("/etc/passwd")
            #expect(before.st_uid == after.st_uid && before.st_mode == after.st_mode)
            let target = f.root + "/m"
            try f.service.mountSlug(slug.digest, uidSlot: 1, at: target)
            var buffer = [CChar](repeating: 0, count: 64)
            #expect(readlink(target + "/x", &buffer, 64) == 11)
            #expect(slug.files == 0)
            #expect(slug.sizeBytes < 10_000)
        }
    }

    /// The digest is that of a tar that GNU tar reads back to an equal tree.
    @Test(arguments: 1...6) func digestIsOfATarThatGnuTarExtracts(seed: UInt64) throws {
        let folder = "/tmp/slipway-tar-\(getpid())-\(seed)"
        defer { _ = try? Files.removeTree(folder) }
        try Files.makeDirectories(folder + "/tree")
        try Files.makeDirectories(folder + "/out")
        try RandomTree(seed: seed).make(folder + "/tree")
        let root = try OwnedFD.open(folder + "/tree", O_RDONLY | O_DIRECTORY)
        let tree = try SlugTree(root, limitBytes: 1 << 30)
        var bytes: [UInt8] = []
        let result = try tree.digest(root) { bytes += $0 }
        #expect(Int64(bytes.count) == tree.tarBytes)
        #expect(result.bytes == tree.tarBytes)
        #expect(SlugStore.hex(SHA256.hash(data: bytes)) == result.digest.hex)
        try Files.writeDurably(folder + "/t.tar", bytes)
        let owners = try output("/bin/tar", ["--numeric-owner", "--utc", "--full-time", "-tvf", folder + "/t.tar"])
        #expect(owners.split(separator: "\n").count >= tree.entries.count)
        #expect(owners.contains("1000/1000") && owners.contains("1980-01-01 00:00:00"))
        _ = try output("/bin/tar", ["--no-same-owner", "-p", "-xf", folder + "/t.tar", "-C", folder + "/out"])
        try Files.removeTree(folder + "/tree/.git")
        #expect(try output("/usr/bin/diff", ["-r", "--no-dereference", folder + "/tree", folder + "/out/app"]).isEmpty)
        let left = try output("/usr/bin/find", [folder + "/tree", "-printf", "%P %m %n %l\\0"])
        let right = try output("/usr/bin/find", [folder + "/out/app", "-printf", "%P %m %n %l\\0"])
        #expect(left.split(separator: "\0").sorted() == right.split(separator: "\0").sorted())
        // And again, from what was extracted.
        let copy = try OwnedFD.open(folder + "/out/app", O_RDONLY | O_DIRECTORY)
        #expect(try SlugTree(copy, limitBytes: 1 << 30).digest(copy).digest == result.digest)
    }

    @Test func oddNamesAndDepthsArriveInTheImage() throws {
        try ImageFixture.with { f throws in
            let names = ["new\nline", " space ", "grün-日本", String(repeating: "n", count: 254), "-rf", "a\\b\"c", "*"]
            var deep = ""
            for i in 0..<150 { deep += (deep.isEmpty ? "" : "/") + "directory-\(i)" }
            let big = 24 << 20
            let slug = try f.slug { path in
                for name in names { try write("\(path)/\(name)", name) }
                try Files.makeDirectories("\(path)/\(deep)")
                try write("\(path)/\(deep)/leaf", "deep")
                try write("\(path)/big", String(repeating: "0123456789abcdef", count: big / 16))
                try Syscall.check("link") { link("\(path)/big", "\(path)/again") }
            }
            let target = f.root + "/m"
            try f.service.mountSlug(slug.digest, uidSlot: 3, at: target)
            for name in names { #expect(try Files.read("\(target)/\(name)") == Array(name.utf8)) }
            #expect(try Files.readText("\(target)/\(deep)/leaf") == "deep")
            #expect(try status(target + "/big").st_size == big)
            #expect(try status(target + "/big").st_ino == status(target + "/again").st_ino)
            #expect(slug.sizeBytes < Int64(big) + (1 << 20))
        }
    }

    @Test func namesThatAnImageCantHoldAreRefused() throws {
        try ImageFixture.with { f throws in
            let error = failure { _ = try f.slug { try write($0 + "/" + String(repeating: "n", count: 255), "x") } }
            #expect(error?.code == .invalid)
            #expect(error?.message.contains("has 255 bytes") == true)
        }
    }

    @Test func pathsThatAreTooLongAreRefused() throws {
        try ImageFixture.with { f throws in
            let error = failure {
                _ = try f.slug { path in
                    // Made step by step: no single path may be this long.
                    var folder = try OwnedFD.open(path, O_RDONLY | O_DIRECTORY)
                    for _ in 0..<20 {
                        let name = Array(String(repeating: "d", count: 250).utf8)
                        let raw = folder.raw
                        try FolderTree.call("mkdir", name) { mkdirat(raw, $0, 0o755) }
                        folder = try FolderTree.open(folder, name, O_RDONLY | O_DIRECTORY)
                    }
                }
            }
            #expect(error?.code == .invalid)
            #expect(error?.message.contains("longer than 3800 bytes") == true)
        }
    }
}

/// A tree that depends on its seed only.
struct RandomTree {
    private struct Generator {
        var state: UInt64
        mutating func next(_ below: Int) -> Int {
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return Int((state >> 33) % UInt64(below))
        }
    }
    let seed: UInt64

    func make(_ root: String) throws {
        var random = Generator(state: seed)
        var folders = [root]
        var files: [String] = []
        for i in 0..<120 {
            let folder = folders[random.next(folders.count)]
            var name = ["f", "ü", "sp ace", "x-", "x.", "line\n", "Z", "long"][random.next(8)] + "\(i)"
            if name.hasPrefix("long") { name += String(repeating: "l", count: random.next(200)) }
            let path = folder + "/" + name
            if path.utf8.count > 2500 { continue }
            switch random.next(10) {
            case 0...2:
                try Files.makeDirectories(path, mode: [0o755, 0o700, 0o775][random.next(3)])
                folders.append(path)
            case 3:
                let target = [String(repeating: "../t", count: 1 + random.next(60)), "/etc/passwd", name][
                    random.next(3)]
                try Syscall.check("symlink") { symlink(target, path) }
            case 4 where !files.isEmpty:
                let old = files[random.next(files.count)]
                try Syscall.check("link") { link(old, path) }
            default:
                let size = [0, 1, 511, 512, 513, 70_000][random.next(6)]
                let text = String(repeating: "\(i)", count: size)
                try write(path, String(text.prefix(size)), mode: [0o644, 0o755, 0o600, 0o664][random.next(4)])
                files.append(path)
            }
        }
        try Files.makeDirectories(root + "/.git")
        try write(root + "/.git/config", "\(seed)")
        try Files.makeDirectories(root + "/sub/.git")
        try write(root + "/sub/.git/kept", "only the top one is left out")
    }
}
