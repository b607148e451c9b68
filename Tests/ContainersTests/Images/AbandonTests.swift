import Domain
import Glibc
import Logging
import OS
import Testing

@testable import Containers

/// What the engine itself does for a build ends when the build is cancelled.
@Suite struct AbandonTests {
    @Test func packingEndsAtOnce() async throws {
        try ImageFixture.with { f in
            let service = f.service
            let build = BuildID.random(), app = AppID.random()
            let path = try service.createBuildVolume(
                build: build, app: app, uidSlot: 1, sizeBytes: 64 << 20, clearCache: false)
            // All of it one hole, which takes no room but long to read.
            try write(path + "/big", "")
            #expect(truncate(path + "/big", 200 << 30) == 0)
            try service.sealSource(build: build, uidSlot: 1)
            let refusal = Monitor<PaaSError?>(nil)
            Thread.start("packs") {
                let error = failure { _ = try service.packSlug(build: build, uidSlot: 1, limitBytes: 1 << 40) }
                refusal.withLock { $0 = error ?? PaaSError(.internal, "packed") }
            }
            let cgroups = HostCgroups(parent: f.settings.hostName)
            func running() throws -> Int {
                try cgroups.groups().filter { $0.hasPrefix("work.") }.map { try cgroups.members($0).count }.reduce(0, +)
            }
            let deadline = Monotonic.now() + 20
            while try running() == 0, Monotonic.now() < deadline { usleep(5000) }
            let began = Monotonic.now()
            try service.abandonWork(build: build)
            let error = refusal.wait(seconds: 10) { $0 }
            #expect(error?.code == .cancelled)
            #expect(Monotonic.now() - began < 1)
            #expect(try running() == 0)
            // Neither begins anything else of it.
            #expect(
                failure { _ = try service.packSlug(build: build, uidSlot: 1, limitBytes: 1 << 40) }?.code == .cancelled)
            try service.finishBuildVolume(build: build, app: app, keepCache: false)
            #expect(try service.listBuildVolumes().isEmpty)
        }
    }

    @Test func copyingAnArchiveEndsAtOnce() throws {
        try ImageFixture.with { f in
            let service = f.service
            let build = BuildID.random(), app = AppID.random()
            _ = try service.createBuildVolume(
                build: build, app: app, uidSlot: 1, sizeBytes: 2 << 30, clearCache: false)
            let uploads = f.settings.uploadsDirectory
            try Files.makeDirectories(uploads, mode: 0o700)
            try Files.setOwner(uploads, uid: ImageFixture.nobody, gid: 0)
            // A hole, which is bytes once copied.
            let archive = "\(uploads)/\(build).tar"
            try write(archive, "")
            #expect(truncate(archive, 1 << 30) == 0)
            try Files.setOwner(archive, uid: ImageFixture.nobody, gid: 0)
            let refusal = Monitor<PaaSError?>(nil)
            Thread.start("copies") {
                let error = failure { try service.placeSource(build: build, uidSlot: 1) }
                refusal.withLock { $0 = error ?? PaaSError(.internal, "copied") }
            }
            let copy = service.buildPaths(build: build).tmp + "/" + SourceUploads.name
            let deadline = Monotonic.now() + 20
            while !Files.exists(copy), Monotonic.now() < deadline { usleep(1000) }
            try service.abandonWork(build: build)
            // It is over when that returns: what comes next may take the volume away.
            #expect(refusal.wait(seconds: 5) { $0 }?.code == .cancelled)
            #expect(failure { try service.sealSource(build: build, uidSlot: 1) }?.code == .cancelled)
            try service.finishBuildVolume(build: build, app: app, keepCache: false)
        }
    }

    @Test func handingOverEndsInTheMiddle() throws {
        try ImageFixture.with { f in
            let root = f.root + "/tree"
            try Files.makeDirectories(root)
            for name in 0..<10 { try write("\(root)/\(name)", "") }
            var asked = 0
            let folder = try OwnedFD.open(root, O_RDONLY | O_DIRECTORY)
            let error = failure {
                try FolderTree.giveAway(folder, uid: 1, gid: 1) {
                    asked += 1
                    return asked < 5
                }
            }
            #expect(error?.code == .cancelled && asked == 5)
        }
    }

    @Test func aJobThatStartsProgramsOneAfterTheOtherEndsToo() throws {
        try ImageFixture.with { f in
            let work = HostWork(
                cgroups: HostCgroups(parent: f.settings.hostName), memoryBytes: 64 << 20, logger: Logger(label: "test"))
            let build = BuildID.random()
            let state = Monitor<(started: Int, error: PaaSError?)>((0, nil))
            Thread.start("job") {
                let error = failure {
                    try work.run("job", for: build) { (group) throws(PaaSError) -> Void in
                        // As a damaged cache, which is made anew: the end of one program is no end of the job.
                        for _ in 0..<3 {
                            state.withLock { $0.started += 1 }
                            _ = try ImageFailure.wrap("job") { () throws(SystemError) in
                                try Command(group.entered(ProcessSpec("/bin/sleep", ["1000"])), timeoutSeconds: 1000)
                                    .run()
                            }
                        }
                        throw PaaSError(.internal, "none of them came to its end")
                    }
                }
                state.withLock { $0.error = error ?? PaaSError(.internal, "done") }
            }
            _ = state.wait(seconds: 10) { $0.started > 0 ? true : nil }
            let began = Monotonic.now()
            try work.abandon(build)
            #expect(Monotonic.now() - began < 5)
            #expect(state.wait(seconds: 5) { $0.error }?.code == .cancelled)
            #expect(state.withLock { $0.started } == 3)
        }
    }
}
