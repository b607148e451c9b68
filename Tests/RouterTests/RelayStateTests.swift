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

    @Test func whenBothSidesRefuseTheFlowEnds() {
        for first in [Side.client, .backend] {
            var state = RelayState()
            #expect(state.handle(.refused(by: first)) == .stopReading(first.other))
            #expect(state.handle(.blocked(from: first)) == .stopReading(first))
            #expect(state.handle(.refused(by: first.other)) == .reset(first))
        }
    }

    /// Whatever the order of legal events: a side is shut down at most once, reading resumes only after it stopped, and
    /// until the flow ends something can still happen to it: a side is read, or bytes wait to be written.
    @Test func randomOrdersKeepTheRules() {
        var random = SeededRandom(7)
        for _ in 0..<20_000 {
            var state = RelayState()
            var read: Set<Side> = [.client, .backend], waiting: Set<Side> = [], ended: Set<Side> = []
            var failed = false, shutdownFailed: Side?
            steps: for _ in 0..<30 {
                #expect(!read.isEmpty || !waiting.isEmpty, "nothing can ever end \(state)")
                // What the shell can meet: reading tells of bytes, an end or a failure; waiting bytes go out or are refused.
                var possible: [RelayState.Event] = []
                for side in read {
                    possible += [.ended(from: side), .failed(side)]
                    if !waiting.contains(side) { possible += [.blocked(from: side), .refused(by: side.other)] }
                }
                for side in waiting { possible += [.drained(from: side), .refused(by: side.other)] }
                let event =
                    shutdownFailed.map { .refused(by: $0) }
                    ?? possible.sorted { "\($0)" < "\($1)" }.randomElement(using: &random) ?? .failed(.client)
                shutdownFailed = nil
                switch event {
                case .blocked(let side): waiting.insert(side)
                case .drained(let side): waiting.remove(side)
                case .refused(let side):
                    failed = true
                    waiting.remove(side.other)
                case .failed: failed = true
                case .ended(let side): read.remove(side)
                }
                switch state.handle(event) {
                case .none: break
                case .stopReading(let side): read.remove(side)
                case .resumeReading(let side): #expect(read.insert(side).inserted && !ended.contains(side))
                case .shutdownWriting(let side):
                    #expect(ended.insert(side.other).inserted)
                    if Int.random(in: 0..<4, using: &random) == 0 { shutdownFailed = side }
                case .close:
                    #expect(ended.count == 1 && waiting.isEmpty && !failed)
                    break steps
                case .reset:
                    #expect(failed)
                    break steps
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
