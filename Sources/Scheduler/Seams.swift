import Domain

/// Told when the routing table has a new revision; whoever streams the table reads it again. A hint: several changes may
/// come as one.
public protocol RoutingPublisher: Sendable {
    func tableChanged()
}

/// Removes what an app has outside the database: repository, cache, volumes. Its processes are gone by then; its logs are
/// removed by the scheduler. May be called again after a failure or a crash, so that what is gone already is fine.
public protocol AppCleanup: Sendable {
    func cleanUp(_ app: App) async throws(PaaSError)
    /// The app's rows are gone: removes the files that nothing refers to any more. What fails is left to the next start.
    func removeFiles(of removed: RemovedApp) async throws(PaaSError)
}
