import Domain
import Logging

/// What is done once after a start, beside the builds: each durable step is repaired from the one before it. A part that is
/// away is waited for; one thing that can't be repaired keeps nothing else from it.
///
/// Containers and volumes of builds are `BuildSweep`'s.
struct BuildRepair: Sendable {
    let parts: BuildParts
    /// Whether this paasd is opening the build right now: pinned, its row perhaps not yet written.
    let isOpening: @Sendable (BuildID) async -> Bool

    /// Returns when all is repaired or the task is cancelled.
    /// - Parameter slugsChecked: called once slug files without a row are gone: a slug that is packed before that could be
    ///   mistaken for one of them.
    func run(slugsChecked: @escaping @Sendable () -> Void) async {
        await withDiscardingTaskGroup { group in
            group.addTask {
                await untilDone("slug files") { () async throws(PaaSError) in try await slugs() }
                slugsChecked()
            }
            group.addTask {
                await untilDone("pins and repositories") { () async throws(PaaSError) in try await repositories() }
            }
            group.addTask { await untilDone("build logs") { () async throws(PaaSError) in try await logs() } }
            group.addTask { await untilDone("uploads") { () async throws(PaaSError) in try await uploads() } }
        }
    }

    private func untilDone(_ what: String, _ work: @Sendable () async throws(PaaSError) -> Void) async {
        var pause = Duration.milliseconds(100)
        var told = false
        while !Task.isCancelled {
            do throws(PaaSError) {
                return try await work()
            } catch {
                if error.code == .stale { return }
                guard error.code == .unavailable else {
                    parts.logger.error(
                        "a repair failed and is left to the next start",
                        metadata: ["what": "\(what)", "error": "\(ErrorChain(error))"])
                    return
                }
                if !told {
                    parts.logger.warning(
                        "a repair waits for a part of the platform",
                        metadata: ["what": "\(what)", "error": "\(ErrorChain(error))"])
                }
                told = true
            }
            do { try await Task.sleep(for: pause) } catch { return }
            pause = min(pause * 2, .seconds(5))
        }
    }

    /// - Throws: only what ends the round.
    private func item(
        _ what: String, _ id: some CustomStringConvertible & Sendable, _ work: () async throws(PaaSError) -> Void
    ) async throws(PaaSError) {
        do throws(PaaSError) {
            try await work()
        } catch {
            if error.code == .unavailable || error.code == .stale { throw error }
            parts.logger.error(
                "can't repair", metadata: ["what": "\(what)", "id": "\(id)", "error": "\(ErrorChain(error))"])
        }
    }

    // Lists are read before rows: what comes in between has a row already when it shows.

    private func slugs() async throws(PaaSError) {
        let files = try await parts.buildEngine.listSlugs()
        let rows = try await parts.store.knownSlugs()
        for digest in files where !rows.contains(digest) {
            try await item("a slug without a row", digest) { () async throws(PaaSError) in
                try await parts.buildEngine.removeSlug(digest, epoch: parts.epoch)
                parts.logger.notice("removed a slug without a row", metadata: ["slug": "\(digest)"])
            }
        }
    }

    private func repositories() async throws(PaaSError) {
        let found = try await parts.sources.list()
        let apps = try await parts.store.knownApps()
        for app in found {
            try await item("a repository", app) { () async throws(PaaSError) in
                guard apps.contains(app) else {
                    // Not removed: after a restore from a backup it may be the only copy of a newer app's source.
                    try await parts.sources.setAside(app: app)
                    parts.logger.notice("set a repository without an app aside", metadata: ["app": "\(app)"])
                    return
                }
                try await pins(app)
            }
        }
    }

    private func pins(_ app: AppID) async throws(PaaSError) {
        let pins = try await parts.sources.pins(app: app)
        if pins.isEmpty { return }
        let builds = try await parts.store.knownBuilds(app)
        for pin in pins where !builds.contains(pin) {
            // Asked again, in this order: a build that is no longer being opened has its row by now, or never will.
            if await isOpening(pin) { continue }
            if try await parts.store.knownBuilds(app).contains(pin) { continue }
            try await parts.sources.unpin(app: app, build: pin)
            parts.logger.notice("removed a pin without a build", metadata: ["build": "\(pin)"])
        }
    }

    /// Archives whose build has ended, or was never opened.
    private func uploads() async throws(PaaSError) {
        let kept = try await parts.uploads.leftovers()
        if kept.isEmpty { return }
        let active = Set(try await parts.store.activeBuilds().map(\.id))
        for build in kept where !active.contains(build) {
            try await item("an archive without a build", build) { () async throws(PaaSError) in
                try await parts.uploads.remove(build)
                parts.logger.notice("removed an archive without a build", metadata: ["build": "\(build)"])
            }
        }
    }

    private func logs() async throws(PaaSError) {
        let kept = try await parts.log.list()
        if kept.isEmpty { return }
        var known: Set<BuildID> = []
        for app in try await parts.store.knownApps() { known.formUnion(try await parts.store.knownBuilds(app)) }
        for build in kept where !known.contains(build) {
            try await item("the log of a build that is gone", build) { () async throws(PaaSError) in
                try await parts.log.remove(build)
            }
        }
    }
}
