import Domain
import Synchronization
import Testing

@testable import Router

@Suite struct BackendSelectionTests {
    private func next(_ count: Int, _ start: Int, tried: Set<Int> = [], skipped: Set<Int> = []) -> Int? {
        BackendSelection.next(
            count: count, start: start, isTried: tried.contains, isSkipped: skipped.contains)
    }

    @Test func takesTurns() {
        #expect((0..<10).map { next(5, $0) } == [0, 1, 2, 3, 4, 0, 1, 2, 3, 4])
        #expect(next(3, Int.max) != nil && next(3, Int.min) != nil && next(3, -1) != nil)
    }

    @Test func passesOverTheTriedAndTheRefusing() {
        #expect(next(3, 1, tried: [1]) == 2)
        #expect(next(3, 1, skipped: [1, 2]) == 0)
        #expect(next(3, 1, tried: [0], skipped: [1, 2]) == 1)
        #expect(next(3, 0, tried: [0, 1, 2]) == nil)
        #expect(next(0, 0) == nil)
    }

    @Test func affinityKeepsItsBackendWhileOthersLeave() {
        func choose(_ client: UInt64, _ backends: [UInt64]) -> UInt64? {
            BackendSelection.highest(
                count: backends.count, rank: { BackendSelection.rank(client, backends[$0]) }, isTried: { _ in false },
                isSkipped: { _ in false }
            ).map { backends[$0] }
        }
        var seen: [UInt64: Int] = [:]
        for client in UInt64(1)...1000 {
            let chosen = choose(client, [1, 2, 3, 4])
            seen[chosen ?? 0, default: 0] += 1
            if chosen != 4 { #expect(choose(client, [1, 2, 3]) == chosen) }
        }
        #expect(seen.count == 4 && seen.values.allSatisfy { $0 > 150 })
    }
}

@Suite struct TableStateTests {
    private let a = BindingID.random(), b = BindingID.random()

    private func mark(_ revision: Int64, table: String = "t") -> RoutingTable.Mark {
        .init(tableID: table, revision: revision, bootID: "boot")
    }
    private func route(_ id: BindingID, _ port: UInt16) -> RoutingTable.Route {
        .init(binding: id, app: "app", name: "web", protocol: .tcp, publicPort: port, backends: [])
    }

    @Test func snapshotsReplaceAndOnlyDifferencesAreTold() {
        var state = TableState()
        #expect(
            state.apply(.snapshot(.init(mark: mark(1), routes: [route(a, 1), route(b, 2)])))
                == .applied(.init(upserts: [route(a, 1), route(b, 2)])))
        #expect(
            state.apply(.snapshot(.init(mark: mark(2), routes: [route(a, 1)]))) == .applied(.init(removed: [b])))
        #expect(state.apply(.snapshot(.init(mark: mark(2), routes: [route(a, 1)]))) == .applied(.init()))
        #expect(state.table == .init(mark: mark(2), routes: [route(a, 1)]))
    }

    @Test func olderRevisionsAreRefusedUnlessTheTableIsAnother() {
        var state = TableState()
        _ = state.apply(.snapshot(.init(mark: mark(5), routes: [])))
        guard case .refused = state.apply(.snapshot(.init(mark: mark(4), routes: []))) else {
            Issue.record("an older revision was taken")
            return
        }
        #expect(state.mark == mark(5))
        #expect(state.apply(.snapshot(.init(mark: mark(1, table: "u"), routes: []))) == .applied(.init()))
        #expect(state.mark == mark(1, table: "u"))
    }

    @Test func changesApplyOnTheirBaseOnly() {
        var state = TableState()
        guard case .refused = state.apply(.change(mark: mark(2), base: 1, upserts: [], removed: [])) else {
            Issue.record("a change without a snapshot was taken")
            return
        }
        _ = state.apply(.snapshot(.init(mark: mark(1), routes: [route(a, 1)])))
        #expect(
            state.apply(.change(mark: mark(3), base: 1, upserts: [route(b, 2)], removed: [a]))
                == .applied(.init(upserts: [route(b, 2)], removed: [a])))
        for message: RoutingMessage in [
            .change(mark: mark(4), base: 2, upserts: [], removed: []),
            .change(mark: mark(2), base: 3, upserts: [], removed: []),
            .change(mark: mark(4, table: "u"), base: 3, upserts: [], removed: []),
        ] {
            guard case .refused = state.apply(message) else {
                Issue.record("taken: \(message)")
                return
            }
        }
        #expect(state.apply(.keepAlive) == .unchanged)
        #expect(state.mark == mark(3))
    }

    /// The same end by changes and by a snapshot, for random tables.
    @Test func changesLeadWhereSnapshotsLead() {
        var random = SeededRandom(11)
        let ids = (0..<12).map { _ in BindingID.random() }.sorted()
        func randomTable(_ revision: Int64) -> RoutingTable {
            let chosen = ids.filter { _ in Bool.random(using: &random) }
            return RoutingTable(
                mark: mark(revision), routes: chosen.map { route($0, UInt16.random(in: 1...3, using: &random)) })
        }
        var table = randomTable(1)
        var state = TableState()
        _ = state.apply(.snapshot(table))
        for revision in Int64(2)...200 {
            let newer = randomTable(revision)
            guard case .applied = state.apply(newer.change(from: table)) else {
                Issue.record("refused")
                return
            }
            #expect(state.table == newer)
            table = newer
        }
    }
}

@Suite struct PortBookTests {
    private let a = BindingID.random(), b = BindingID.random()

    private func route(_ id: BindingID, _ port: UInt16, _ kind: PortBinding.BindingProtocol = .tcp)
        -> RoutingTable.Route
    {
        .init(binding: id, app: "app", name: "web", protocol: kind, publicPort: port, backends: [])
    }

    @Test func portsMoveWithoutTouchingOthers() {
        var book = PortBook()
        #expect(book.update(.init(upserts: [route(a, 1), route(b, 2)])) == [])
        for (id, _) in book.toOpen(retrying: false) { book.opened(id, reason: nil) }
        #expect(book.toOpen(retrying: true).isEmpty)
        #expect(book.update(.init(upserts: [route(a, 3)])) == [a])
        #expect(book.toOpen(retrying: false).map(\.port) == [3])
        #expect(book.update(.init(removed: [b])) == [b])
    }

    @Test func aFailureIsReportedUntilItIsGone() {
        var book = PortBook()
        _ = book.update(.init(upserts: [route(a, 1)]))
        book.opened(a, reason: "port 1: address already in use")
        #expect(book.failures == [.init(binding: a, reason: "port 1: address already in use")])
        #expect(book.toOpen(retrying: false).isEmpty && book.toOpen(retrying: true).count == 1)
        book.opened(a, reason: nil)
        #expect(book.failures.isEmpty)
    }

    @Test func whatIsNotServedSaysSo() {
        var book = PortBook()
        _ = book.update(.init(upserts: [route(a, 1, .udp)]))
        #expect(book.failures == [.init(binding: a, reason: "protocol udp is not served by this router")])
        #expect(book.toOpen(retrying: true).isEmpty)
        _ = book.update(.init(upserts: [route(a, 1)]))
        #expect(book.failures.isEmpty && book.toOpen(retrying: false).count == 1)
    }
}

@Suite struct AcknowledgementPacingTests {
    private let one = InstanceID.random(), two = InstanceID.random()

    private func acknowledgement(_ revision: Int64, _ draining: [InstanceID: Int] = [:]) -> RouterAcknowledgement {
        .init(mark: .init(tableID: "t", revision: revision, bootID: "b"), draining: draining, failed: [])
    }

    @Test func newsGoesAtOnceAndCountsGoSlowly() {
        var pacing = AcknowledgementPacing(interval: 250, repetition: 5000)
        #expect(pacing.next(acknowledgement(1), now: 0) == .send(acknowledgement(1)))
        #expect(pacing.next(acknowledgement(1), now: 1) == .wait(4999))
        let both = acknowledgement(2, [one: 5, two: 1])
        #expect(pacing.next(both, now: 2) == .send(both))
        #expect(pacing.next(acknowledgement(2, [one: 4, two: 1]), now: 100) == .wait(152))
        #expect(
            pacing.next(acknowledgement(2, [one: 3, two: 1]), now: 252) == .send(acknowledgement(2, [one: 3, two: 1])))
        #expect(pacing.next(acknowledgement(2, [one: 3]), now: 253) == .send(acknowledgement(2, [one: 3])))
        pacing.forget()
        #expect(pacing.next(acknowledgement(2, [one: 3]), now: 254) == .send(acknowledgement(2, [one: 3])))
    }

    @Test func whatStaysIsRepeated() {
        var pacing = AcknowledgementPacing(interval: 250, repetition: 5000)
        _ = pacing.next(acknowledgement(1), now: 100)
        #expect(pacing.next(acknowledgement(1), now: 5099) == .wait(1))
        #expect(pacing.next(acknowledgement(1), now: 5100) == .send(acknowledgement(1)))
        #expect(pacing.next(acknowledgement(1), now: 5101) == .wait(4999))
    }
}

@Suite struct DescriptorBudgetTests {
    private func fill(_ budget: DescriptorBudget, _ route: RouteShared) -> Int {
        var count = 0
        while budget.take(2, for: route) { count += 2 }
        return count
    }

    @Test func whoComesLaterAlwaysFindsSomething() {
        let budget = DescriptorBudget(limit: 10_100, reserve: 100)
        let routes = (0..<4).map { _ in RouteShared(.random(), loops: 1) }
        let first = fill(budget, routes[0])
        #expect(first == 8000)
        #expect(fill(budget, routes[1]) == 1600)
        #expect(fill(budget, routes[2]) == 320)
        #expect(fill(budget, routes[3]) > 0)
        // As others end, there is more for each again, and nothing is lost in counting.
        budget.give(first, for: routes[0])
        #expect(fill(budget, routes[1]) > 4000)
        for route in routes { budget.give(route.descriptors.load(ordering: .relaxed), for: route) }
        #expect(budget.used == 0 && fill(budget, routes[3]) == 8000)
    }

    @Test func theLimitHoldsWhateverIsAsked() {
        let budget = DescriptorBudget(limit: 20, reserve: 10)
        for _ in 0..<4 { #expect(budget.take(2, for: RouteShared(.random(), loops: 1))) }
        #expect(budget.take(2) && !budget.take(1))
        #expect(!budget.take(2, for: RouteShared(.random(), loops: 1)) && budget.used == 10)
    }

    @Test func pausesAreCountedAndReportedNowAndThen() {
        let budget = DescriptorBudget(limit: 100, reserve: 0)
        #expect(
            [0, 1, 59_999, 60_000, 60_001, 120_000].map { budget.paused(now: $0) } == [
                true, false, false, true, false, true,
            ])
        #expect(budget.pauses == 6)
    }
}

@Suite struct TimingWheelTests {
    /// Against a plain list: nothing comes before its time, and all comes within one tick after it.
    @Test func comesInTime() {
        var random = SeededRandom(3)
        var wheel = TimingWheel(tick: 250, slots: 64, now: 1_000_000)
        var deadlines: [Int: UInt64] = [:]
        var now: UInt64 = 1_000_000
        for _ in 0..<20_000 {
            now += UInt64.random(in: 0..<400, using: &random)
            while let id = wheel.popDue(now: now) {
                guard let deadline = deadlines[id] else {
                    Issue.record("\(id) was not scheduled")
                    return
                }
                if deadline > now {
                    // Beyond the horizon: it is set again, as the worker does.
                    wheel.schedule(id, at: deadline, now: now)
                } else {
                    deadlines[id] = nil
                }
            }
            for (id, deadline) in deadlines where deadline + 250 < now { Issue.record("\(id) is late") }
            let id = Int.random(in: 0..<50, using: &random)
            if Int.random(in: 0..<4, using: &random) == 0 {
                wheel.cancel(id)
                deadlines[id] = nil
            } else {
                let deadline = now + UInt64.random(in: 0..<40_000, using: &random)
                wheel.schedule(id, at: deadline, now: now)
                deadlines[id] = deadline
            }
            #expect(wheel.count == deadlines.count)
        }
    }
}
