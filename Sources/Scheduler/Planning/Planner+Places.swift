import Domain

/// Places are `web.1`, `web.2` and so on. Each is to be held by one instance of the target release; what else lives in it
/// leaves once that one serves.
extension Planner {
    /// One place of a wanted type, as it is now.
    private struct Place {
        var index: Int
        /// Of the target release, not to be replaced; the best first.
        var good: [ProcessInstance]
        /// Other live ones.
        var others: [ProcessInstance]
        var isServing: Bool
    }

    mutating func fillPlaces() {
        var leaving: [String: [InstanceID]] = [:]
        var new: [NewInstance] = []
        for row in snapshot.instances where Self.isLive(row) && !isWanted(row) && row.runKind == nil {
            let reason =
                snapshot.app.deleting
                ? "the app is being deleted" : target(of: row.type) == nil ? "no longer wanted" : "scaled in"
            leaving[reason, default: []].append(row.id)
        }
        for target in targets {
            let places = (1...target.quantity).map { place($0, target) }
            for place in places {
                let superfluous = superfluous(place, target)
                if !superfluous.isEmpty { leaving["replaced", default: []] += superfluous }
            }
            new += successors(places, target)
            new += fallbacks(places, target)
        }
        for (reason, ids) in leaving.sorted(by: { $0.key < $1.key }) {
            actions.append(.unroute(ids.sorted(), reason: reason))
        }
        if !new.isEmpty { actions.append(.create(new)) }
    }

    private func place(_ index: Int, _ target: Target) -> Place {
        let live = live(target.type, index)
        let good = live.filter { $0.release == target.release.version && !$0.replaceRequested }
            .sorted {
                let (a, b) = ($0.state == .up ? 0 : 1, $1.state == .up ? 0 : 1)
                return (a, $0.createdAt, $0.id) < (b, $1.createdAt, $1.id)
            }
        let ids = Set(good.map(\.id))
        return Place(
            index: index, good: good, others: live.filter { !ids.contains($0.id) },
            isServing: good.first.map(isServing) ?? false)
    }

    /// What leaves a place now.
    private mutating func superfluous(_ place: Place, _ target: Target) -> [InstanceID] {
        if let best = place.good.first, best.state == .up, !place.isServing { wakeForRouters() }
        let duplicates = place.good.dropFirst().map(\.id)
        if place.isServing { return duplicates + place.others.map(\.id) }
        // Until then only what serves nobody and is no use any more.
        return duplicates
            + place.others.filter { row in
                guard row.state != .up else { return false }
                let isUseful = row.release == target.release.version || row.release == target.fallback?.version
                return !isUseful || row.replaceRequested
            }.map(\.id)
    }

    /// Instances of the target release to be made now. Where they take over from others that serve, only as many as the
    /// window lets in at a time.
    private mutating func successors(_ places: [Place], _ target: Target) -> [NewInstance] {
        let rolls = target.fallback != nil || isCandidate(target.release)
        let replacesNothing = target.fallback == nil && places.allSatisfy { $0.others.isEmpty }
        let window = replacesNothing ? target.quantity : max(1, (target.quantity + 1) / 2)
        var room = window - places.filter { !$0.good.isEmpty && !$0.isServing }.count
        var new: [NewInstance] = []
        // Empty places first: there is nothing to lose in them.
        for place in places.sorted(by: {
            ($0.others.isEmpty ? 0 : 1, $0.index) < ($1.others.isEmpty ? 0 : 1, $1.index)
        }) where place.good.isEmpty {
            let release = target.release.version
            let takesOver = rolls || place.others.contains { $0.state == .up }
            if takesOver && room <= 0 { continue }
            if isCandidate(target.release) {
                let crashes = candidateCrashes(target.type, place.index).count
                guard crashes < Self.candidateStarts else { continue }
                new.append(.init(type: target.type, index: place.index, release: release, restarts: crashes))
            } else if let restarts = startable(target.type, place.index, release: release) {
                new.append(.init(type: target.type, index: place.index, release: release, restarts: restarts))
            } else {
                continue
            }
            room -= 1
        }
        return new
    }

    /// Instances of the release before, for places that nobody serves while the next one rolls out.
    private mutating func fallbacks(_ places: [Place], _ target: Target) -> [NewInstance] {
        guard let fallback = target.fallback else { return [] }
        var new: [NewInstance] = []
        for place in places where place.others.isEmpty {
            if place.good.contains(where: { $0.state == .up }) { continue }
            // The next release held this place already: its second start decides.
            if candidateCrashes(target.type, place.index).contains(where: { $0.upAt != nil }) { continue }
            if let restarts = startable(target.type, place.index, release: fallback.version) {
                new.append(
                    .init(type: target.type, index: place.index, release: fallback.version, restarts: restarts))
            }
        }
        return new
    }

    /// Restarts so far if the place may be filled now; nil while it has to wait.
    private mutating func startable(_ type: String, _ index: Int, release: Int) -> Int? {
        guard let slot = slot(type, index, release: release), slot.restarts > 0 else { return 0 }
        let asked = rows(type, index).filter { $0.release == release }
            .max { ($0.createdAt, $0.id) < ($1.createdAt, $1.id) }
        // A user who asks for a restart does not wait for the backoff.
        if let asked, asked.state == .crashed, asked.replaceRequested { return slot.restarts }
        if isPauseOver(slot.nextStartAt, of: CrashBackoff.maximumSeconds) { return slot.restarts }
        wake(at: slot.nextStartAt)
        return nil
    }
}
