import Builder
import Domain
import Scheduler
import Telemetry

/// Removes what a deleted app has outside the database.
struct Cleanup: AppCleanup {
    let store: any BuildStore
    let repositories: any SourceRepositories
    let buildEngine: any BuildEngine
    let buildLogs: any BuildLogStore
    /// That of the builds, which may be taking a slug of the app's as their own.
    let slugLock: SlugLock
    let lines: PlatformLines
    let epoch: Int64

    func cleanUp(_ app: App) async throws(PaaSError) {
        try await repositories.remove(app: app.id)
        try await buildEngine.removeCache(app: app.id, epoch: epoch)
        await lines.remove(app: app.id)
    }

    func removeFiles(of removed: RemovedApp) async throws(PaaSError) {
        for build in removed.builds { try await buildLogs.remove(build) }
        try await slugLock.removeFiles(of: removed.slugs, store: store, engine: buildEngine, epoch: epoch)
    }
}
