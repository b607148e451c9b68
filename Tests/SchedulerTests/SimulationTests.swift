import Domain
import Synchronization
import Testing

@testable import Scheduler

@Suite("Simulated life of an app")
struct SimulationTests {
    @Test("whatever happens, nothing unsafe is done, and in the end all is as wanted", arguments: 1...24)
    func holdsItsRules(seed: Int) async throws {
        let world = Simulation(seed: UInt64(seed))
        _ = world.store.release(["web": "ok", "worker": "ok"], now: world.now)
        for _ in 0..<300 { try await world.step(calm: false) }
        // A crash loop may be current only if it was up for a while; a good release ends it.
        _ = world.store.release(["web": "slow 2", "worker": "ok", "release": "exit 3 0"], now: world.now)
        for _ in 0..<400 {
            try await world.step(calm: true)
            if world.unsettled().isEmpty { break }
        }
        let broken = world.broken.withLock { $0 }
        let last = world.trace.suffix(40).joined(separator: "\n")
        #expect(broken.isEmpty, "seed \(seed): \(broken.prefix(3))")
        #expect(world.unsettled().isEmpty, "seed \(seed): \(world.unsettled())\n\(last)")
    }
}
