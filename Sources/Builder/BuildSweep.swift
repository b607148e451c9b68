import Domain
import Logging

/// Removes what ended builds left with the engine, again and again: a build whose end met an engine that was away left its
/// container running, its volume mounted and its new cache unused.
struct BuildSweep: Sendable {
    let parts: BuildParts
    let watch: ContainerWatch
    /// Whether somebody cares for the build at this moment.
    let isDriven: @Sendable (BuildID) async -> Bool

    static let interval = Duration.seconds(2)

    /// Until the task is cancelled or another paasd is in charge.
    func run() async {
        var told: Set<String> = []
        while !Task.isCancelled {
            let version = watch.signal.version
            guard watch.listed else {
                await watch.signal.wait(after: version)
                continue
            }
            var failures: [String: PaaSError] = [:]
            do throws(PaaSError) {
                try await sweep(&failures)
            } catch {
                if error.code == .stale { return }
                failures["the volumes of builds"] = error
            }
            // What fails again and again is told once.
            for (what, error) in failures where !told.contains(what) {
                parts.logger.warning(
                    "what a build left can't be removed yet",
                    metadata: ["what": "\(what)", "error": "\(ErrorChain(error))"])
            }
            told = Set(failures.keys)
            do { try await Task.sleep(for: Self.interval) } catch { return }
        }
    }

    /// - Parameter failures: what could not be removed, and why.
    private func sweep(_ failures: inout [String: PaaSError]) async throws(PaaSError) {
        let containers = watch.all
        for seen in containers {
            let build = BuildID(seen.id.uuid)
            do throws(PaaSError) {
                if try await ended(build) == nil { continue }
                try await parts.engine.stop(seen.id, graceSeconds: 0, epoch: parts.epoch)
                try await parts.engine.remove(seen.id, epoch: parts.epoch)
            } catch {
                if error.code == .stale { throw error }
                failures["the container of build \(build)"] = error
            }
        }
        for build in try await parts.buildEngine.listBuildVolumes() {
            do throws(PaaSError) {
                guard let end = try await ended(build) else { continue }
                // Without its row (the app is gone) nothing but the volume itself is touched.
                let app = end.app ?? containers.first { $0.id.uuid == build.uuid }?.app ?? AppID(build.uuid)
                let isKept = end.succeeded ? try await parts.mayHaveCache(app) : false
                try await parts.buildEngine.finishBuildVolume(
                    build: build, app: app, keepCache: isKept, epoch: parts.epoch)
                parts.logger.notice("removed the volume of an ended build", metadata: ["build": "\(build)"])
            } catch {
                if error.code == .stale { throw error }
                failures["the volume of build \(build)"] = error
            }
        }
    }

    private struct End {
        /// Nil: its row is gone.
        var app: AppID?
        var succeeded: Bool
    }

    /// Nil for a build that has not ended or is still cared for.
    private func ended(_ id: BuildID) async throws(PaaSError) -> End? {
        if await isDriven(id) { return nil }
        do throws(PaaSError) {
            let build = try await parts.store.build(id)
            return build.state.isFinal ? End(app: build.app, succeeded: build.state == .succeeded) : nil
        } catch  where error.code == .notFound {
            return End(app: nil, succeeded: false)
        }
    }
}
