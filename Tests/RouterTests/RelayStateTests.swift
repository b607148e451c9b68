import Testing

@testable import Router

@Suite struct RelayStateTests {
    @Test func aHalfCloseIsPassedOnAndTheOtherDirectionGoesOn() {
        var state = RelayState()
        #expect(state.handle(.ended(from: .client)) == .shutdownWriting(.backend))
        #expect(state.fromBackend == .open)
        #expect(state.handle(.blocked(from: .backend)) == .stopReading(.backend))
        #expect(state.handle(.drained(from: .backend)) == .resumeReading(.backend))
        #expect(state.handle(.ended(from: .backend)) == .close)
    }

    @Test func aResetGoesToTheOtherSide() {
        var state = RelayState()
        #expect(state.handle(.failed(.client)) == .reset(.backend))
        state = RelayState()
        _ = state.handle(.ended(from: .client))
        #expect(state.handle(.failed(.backend)) == .reset(.client))
    }

    @Test func whatARefusingSideSaidIsPassedOnBeforeTheReset() {
        var state = RelayState()
        #expect(state.handle(.refused(by: .backend)) == .stopReading(.client))
        #expect(state.handle(.blocked(from: .backend)) == .stopReading(.backend))
        #expect(state.handle(.drained(from: .backend)) == .resumeReading(.backend))
        #expect(state.handle(.ended(from: .backend)) == .reset(.client))
        state = RelayState()
        _ = state.handle(.ended(from: .backend))
        #expect(state.handle(.refused(by: .backend)) == .reset(.client))
        state = RelayState()
        _ = state.handle(.blocked(from: .client))
        #expect(state.handle(.refused(by: .backend)) == .stopReading(.client))
        #expect(state.handle(.drained(from: .client)) == .none)
    }

    @Test func directionsAreHeldBackIndependently() {
        var state = RelayState()
        #expect(state.handle(.blocked(from: .client)) == .stopReading(.client))
        #expect(state.handle(.ended(from: .backend)) == .shutdownWriting(.client))
        #expect(state.handle(.drained(from: .client)) == .resumeReading(.client))
        #expect(state.handle(.ended(from: .client)) == .close)
    }

    /// Whatever the order of legal events: a side is shut down at most once, and reading resumes only after it stopped.
    @Test func randomOrdersKeepTheRules() {
        var random = SeededRandom(7)
        for _ in 0..<20_000 {
            var state = RelayState()
            var stopped: Set<Side> = [], ended: Set<Side> = []
            steps: for _ in 0..<30 {
                let side: Side = Bool.random(using: &random) ? .client : .backend
                let event: RelayState.Event =
                    switch Int.random(in: 0..<3, using: &random) {
                    case 0: .blocked(from: side)
                    case 1: .drained(from: side)
                    default: stopped.contains(side) ? .drained(from: side) : .ended(from: side)
                    }
                switch state.handle(event) {
                case .none: break
                case .stopReading(let side): #expect(stopped.insert(side).inserted && !ended.contains(side))
                case .resumeReading(let side): #expect(stopped.remove(side) != nil)
                case .shutdownWriting(let side): #expect(ended.insert(side.other).inserted)
                case .close:
                    #expect(ended.count == 1 && stopped.isEmpty)
                    break steps
                case .reset: Issue.record("no failure was fed")
                }
            }
        }
    }
}

/// Reproducible randomness (SplitMix64).
struct SeededRandom: RandomNumberGenerator {
    private var state: UInt64
    init(_ seed: UInt64) { state = seed }
    mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var z = state
        z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
        z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
        return z ^ (z >> 31)
    }
}
