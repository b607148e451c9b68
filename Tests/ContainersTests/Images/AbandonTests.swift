import Domain
import Glibc
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
}
