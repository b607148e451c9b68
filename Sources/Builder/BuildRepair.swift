import Domain
import Logging

/// What is done once at start, before any build is driven: each durable step is repaired from the one before it.
struct BuildRepair: Sendable {
    let parts: BuildParts

    /// - Parameter opening: builds that this paasd is opening right now.
    /// - Throws: `stale` only. Anything else is logged and left for the next start: a repair that can't be done must not keep
    ///   the platform from working.
    func run(opening: Set<BuildID>) async throws(PaaSError) {
        try await attempt("pins and repositories") { () async throws(PaaSError) in try await repositories(opening) }
        try await attempt("slug files") { () async throws(PaaSError) in try await slugs() }
        try await attempt("build containers and volumes") { () async throws(PaaSError) in try await volumes() }
        try await attempt("build logs") { () async throws(PaaSError) in try await logs(opening) }
    }

    private func attempt(
        _ what: String, _ work: @Sendable () async throws(PaaSError) -> Void
    ) async throws(PaaSError) {
        var pause = Duration.milliseconds(100)
        let start = ContinuousClock.now
        while true {
            do throws(PaaSError) {
                return try await work()
            } catch {
                if error.code == .stale || Task.isCancelled { throw error }
                guard error.code == .unavailable, ContinuousClock.now - start < .seconds(10) else {
                    parts.logger.error(
                        "repair at start failed", metadata: ["what": "\(what)", "error": "\(ErrorChain(error))"])
                    return
                }
            }
            do { try await Task.sleep(for: pause) } catch { return }
            pause = min(pause * 2, .seconds(1))
        }
    }

    /// Lists are read before rows: what comes in between has a row already when it shows.
    private func repositories(_ opening: Set<BuildID>) async throws(PaaSError) {
        let found = try await parts.sources.list()
        let apps = try await parts.store.knownApps()
        for app in found {
            guard apps.contains(app) else {
                try await parts.sources.remove(app: app)
                parts.logger.notice("removed a repository without an app", metadata: ["app": "\(app)"])
                continue
            }
            let pins = try await parts.sources.pins(app: app)
            if pins.isEmpty { continue }
            let builds = try await parts.store.knownBuilds(app)
            for pin in pins where !builds.contains(pin) && !opening.contains(pin) {
                try await parts.sources.unpin(app: app, build: pin)
                parts.logger.notice("removed a pin without a build", metadata: ["build": "\(pin)"])
            }
        }
    }

    private func slugs() async throws(PaaSError) {
        let files = try await parts.buildEngine.listSlugs()
        let rows = try await parts.store.knownSlugs()
        for digest in files where !rows.contains(digest) {
            try await parts.buildEngine.removeSlug(digest, epoch: parts.epoch)
            parts.logger.notice("removed a slug without a row", metadata: ["slug": "\(digest)"])
        }
    }

    private func volumes() async throws(PaaSError) {
        let seen = try await ContainerWatch.freshList(parts.engine, epoch: parts.epoch)
        let containers = seen.filter(\.isBuild).map { ($0.app, BuildID($0.id.uuid)) }
        for (_, build) in containers {
            guard try await final(build) != nil else { continue }
            let container = InstanceID(build.uuid)
            try await parts.engine.stop(container, graceSeconds: 0, epoch: parts.epoch)
            try await parts.engine.remove(container, epoch: parts.epoch)
        }
        for build in try await parts.buildEngine.listBuildVolumes() {
            guard let state = try await final(build) else { continue }
            // Without its row (the app is gone) nothing but the volume itself is touched.
            let app: AppID
            switch state {
            case .known(let known): app = known.app
            case .unknown: app = containers.first { $0.1 == build }?.0 ?? AppID(build.uuid)
            }
            let keep = if case .known(let known) = state { known.state == .succeeded } else { false }
            try await parts.buildEngine.finishBuildVolume(
                build: build, app: app, keepCache: keep, epoch: parts.epoch)
            parts.logger.notice("removed the volume of a finished build", metadata: ["build": "\(build)"])
        }
    }

    private enum Final {
        case known(Build)
        case unknown
    }

    /// Nil for a build that is still to be driven.
    private func final(_ id: BuildID) async throws(PaaSError) -> Final? {
        do throws(PaaSError) {
            let build = try await parts.store.build(id)
            return build.state.isFinal ? .known(build) : nil
        } catch  where error.code == .notFound {
            return .unknown
        }
    }

    private func logs(_ opening: Set<BuildID>) async throws(PaaSError) {
        let kept = try await parts.log.list()
        if kept.isEmpty { return }
        var known: Set<BuildID> = opening
        for app in try await parts.store.knownApps() { known.formUnion(try await parts.store.knownBuilds(app)) }
        for build in kept where !known.contains(build) { try await parts.log.remove(build) }
    }
}
