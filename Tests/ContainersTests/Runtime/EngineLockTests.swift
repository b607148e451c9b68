import Containers
import Domain
import Glibc
import OS
import Testing

@Suite struct EngineLockTests {
    @Test func aLockThatIsAboutToBeFreeIsWaitedForAndOneThatIsHeldIsTold() throws {
        let run = "/tmp/slipway-lock-\(InstanceID.random())"
        defer { try? Files.removeTree(run) }
        let settings = try Settings(environment: ["PAAS_RUN_DIR": run, "PAAS_DATA_DIR": run + "/data"], file: "")
        let first = try EngineLock.take(settings)
        #expect { try EngineLock.take(settings) } throws: { ($0 as? PaaSError)?.code == .conflict }
        // As a child of a killed engine does when it has become another program.
        OS.Thread.start("lock-holder") {
            usleep(200_000)
            first.release()
        }
        let second = try EngineLock.take(settings)
        second.release()
    }
}
