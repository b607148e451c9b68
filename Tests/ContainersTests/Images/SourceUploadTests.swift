import Domain
import Glibc
import OS
import Testing

@testable import Containers

/// Archives on their way into a build.
@Suite struct SourceUploadTests {
    private func withVolume(_ body: (ImageFixture, BuildID, String) throws -> Void) throws {
        try ImageFixture.with { f in
            let build = BuildID.random(), app = AppID.random()
            _ = try f.service.createBuildVolume(
                build: build, app: app, uidSlot: 2, sizeBytes: 16 << 20, clearCache: false)
            let uploads = f.settings.uploadsDirectory
            try Files.makeDirectories(uploads, mode: 0o700)
            try Files.setOwner(uploads, uid: ImageFixture.nobody, gid: 0)
            try body(f, build, "\(uploads)/\(build).tar")
            try f.service.finishBuildVolume(build: build, app: app, keepCache: false)
        }
    }

    private func place(_ path: String, _ text: String) throws {
        try write(path, text)
        try Files.setOwner(path, uid: ImageFixture.nobody, gid: 0)
    }

    @Test func anArchiveBecomesTheBuilds() throws {
        try withVolume { f, build, path in
            try place(path, "first")
            try f.service.placeSource(build: build, uidSlot: 2)
            // A call whose answer was lost comes again.
            try place(path, "the archive")
            try f.service.placeSource(build: build, uidSlot: 2)
            let copy = f.service.buildPaths(build: build).tmp + "/source.tar"
            #expect(try Files.readText(copy) == "the archive")
            let info = try status(copy)
            #expect(info.st_uid == f.uid(2) && info.st_gid == f.uid(2) && info.st_mode & 0o777 == 0o600)
            #expect(Files.exists(path), "it is paasd's to remove")
        }
    }

    @Test func whatIsNoPlainFileOfPaasdIsRefused() throws {
        try withVolume { f, build, path in
            func refusal() -> PaaSError? { failure { try f.service.placeSource(build: build, uidSlot: 2) } }
            #expect(refusal()?.code == .notFound)
            try write(path, "of root")
            #expect(refusal()?.code == .invalid)
            try Files.remove(path)
            try place(path + ".other", "other")
            #expect(symlink(path + ".other", path) == 0)
            #expect(refusal()?.code == .invalid)
            try Files.remove(path)
            #expect(link(path + ".other", path) == 0)
            #expect(refusal()?.code == .invalid, "a second name")
            try Files.remove(path)
            #expect(mkfifo(path, 0o600) == 0)
            try Files.setOwner(path, uid: ImageFixture.nobody, gid: 0)
            #expect(refusal()?.code == .invalid)
            try Files.remove(path)
            try place(path, "")
            #expect(truncate(path, off_t(f.settings.checkoutLimitBytes + 1)) == 0)
            #expect(refusal()?.message.contains("PAAS_CHECKOUT_LIMIT_BYTES") == true)
            #expect(truncate(path, 64 << 20) == 0)
            #expect(refusal()?.message.contains("PAAS_BUILD_DISK_BYTES") == true)
        }
    }
}
