import Domain
import Logging
import Synchronization

/// Removes what nobody needs any more: slugs, logs and pins of old builds, caches of apps that build no more. One per paasd.
///
/// A slug is marked in the store first, in a transaction that sees to it that nothing needs it, and its file goes after that;
/// what a killed paasd left in between, the repair at the next start removes. Everything may be repeated.
public final class RetentionCollector: RetentionStatus {
    /// Slugs that are looked for at a time.
    static let batch = 200
    /// Between two looks, however many builds end.
    static let shortestPause = Duration.seconds(30)

    private let parts: BuildParts
    private let store: any RetentionStore
    private let rules: RetentionRules
    private let state = Mutex(RetentionCounts())
    /// Files without a row at the last look.
    private let orphans = Mutex<Set<SlugDigest>>([])

    public init(parts: BuildParts, store: any RetentionStore) {
        self.parts = parts
        self.store = store
        rules = parts.settings.retention
    }

    public var counts: RetentionCounts { state.withLock { $0 } }

    /// Until the task is cancelled. A part that is away is left to the next look.
    public func run() async {
        let interval = Duration.seconds(rules.intervalSeconds)
        while !Task.isCancelled {
            let version = parts.buildEnded.version
            await collect()
            do { try await Task.sleep(for: min(interval, Self.shortestPause)) } catch { return }
            await parts.buildEnded.wait(after: version, timeout: max(.zero, interval - Self.shortestPause))
        }
    }

    /// One look at everything.
    func collect() async {
        await part("slugs") { () async throws(PaaSError) in try await collectSlugs() }
        await part("slug files") { () async throws(PaaSError) in try await collectFiles() }
        await part("build logs") { () async throws(PaaSError) in try await collectLogs() }
        await part("pins") { () async throws(PaaSError) in try await collectPins() }
        await part("caches") { () async throws(PaaSError) in try await collectCaches() }
        await part("totals") { () async throws(PaaSError) in
            let totals = try await store.slugTotals()
            state.withLock { counts in
                counts.slugs = totals
                counts.lastRun = parts.now()
            }
        }
    }

    private func part(_ what: String, _ work: () async throws(PaaSError) -> Void) async {
        if Task.isCancelled { return }
        do throws(PaaSError) {
            try await work()
        } catch {
            // Away for a moment, or another paasd is in charge: nothing to tell.
            if error.code == .unavailable || error.code == .stale { return }
            parts.logger.warning(
                "what is no longer needed can't be removed",
                metadata: ["what": "\(what)", "error": "\(ErrorChain(error))"])
        }
    }

    private func collectSlugs() async throws(PaaSError) {
        while !Task.isCancelled {
            let digests = try await store.unneededSlugs(rules, limit: Self.batch, now: parts.now())
            var removed = 0
            for digest in digests {
                let bytes = try await parts.slugLock.withLock { () async throws(PaaSError) -> Int64? in
                    guard let bytes = try await store.retireSlug(digest, rules, now: parts.now()) else { return nil }
                    parts.faults.reached(.slugRetired)
                    do throws(PaaSError) {
                        try await parts.buildEngine.removeSlug(digest, epoch: parts.epoch)
                    } catch  where error.code == .conflict {
                        // A process has it, as one that is just ending: left to `collectFiles`.
                        return nil
                    }
                    return bytes
                }
                guard let bytes else { continue }
                removed += 1
                state.withLock { counts in
                    counts.slugsRemoved += 1
                    counts.slugBytesFreed += bytes
                }
                parts.logger.notice("removed a slug that nothing needs", metadata: ["slug": "\(digest)"])
            }
            if removed == 0 { return }
        }
    }

    /// Files whose rows went, as while a process still had them. A file may be younger than its row, but not for as long as
    /// from one look to the next; should it be all the same, its build packs once more.
    private func collectFiles() async throws(PaaSError) {
        let files = Set(try await parts.buildEngine.listSlugs())
        let found = files.subtracting(try await store.slugsWithFile())
        let known = orphans.withLock { orphans in
            defer { orphans = found }
            return orphans
        }
        for digest in found.intersection(known) {
            try await parts.slugLock.withLock { () async throws(PaaSError) in
                guard try await !store.slugsWithFile().contains(digest) else { return }
                do throws(PaaSError) {
                    try await parts.buildEngine.removeSlug(digest, epoch: parts.epoch)
                } catch  where error.code == .conflict {
                    // A process has it. Tried again at the next look.
                    return
                }
                parts.logger.notice("removed a slug without a row", metadata: ["slug": "\(digest)"])
            }
        }
    }

    private func collectLogs() async throws(PaaSError) {
        let kept = Set(try await parts.log.list())
        if kept.isEmpty { return }
        for build in try await store.expiredLogs(rules, now: parts.now()) where kept.contains(build) {
            try await parts.log.remove(build)
            state.withLock { $0.logsRemoved += 1 }
        }
    }

    private func collectPins() async throws(PaaSError) {
        let apps = try await parts.store.knownApps()
        for app in try await parts.sources.list() where apps.contains(app) {
            let unneeded = try await store.unneededPins(app, rules, now: parts.now())
            if unneeded.isEmpty { continue }
            for pin in try await parts.sources.pins(app: app) where unneeded.contains(pin) {
                try await parts.sources.unpin(app: app, build: pin)
                state.withLock { $0.pinsRemoved += 1 }
            }
        }
    }

    private func collectCaches() async throws(PaaSError) {
        let caches = try await parts.buildEngine.listCaches()
        if caches.isEmpty { return }
        let apps = try await parts.store.knownApps()
        let idle = try await store.appsWithIdleCache(rules, now: parts.now())
        for cache in caches where idle.contains(cache.app) || !apps.contains(cache.app) {
            try await parts.buildEngine.removeCache(app: cache.app, epoch: parts.epoch)
            state.withLock { counts in
                counts.cachesRemoved += 1
                counts.cacheBytesFreed += cache.bytes
            }
        }
    }
}
