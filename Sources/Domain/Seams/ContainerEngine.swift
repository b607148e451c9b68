/// Runs containers: the local engine, later Kubernetes. Every call may be repeated; every call carries the caller's epoch,
/// and an engine that has seen a newer one answers `stale`.
public protocol ContainerEngine: Sendable {
    /// How this engine differs from others. Callers ask this, never which engine it is.
    func capabilities() async throws(PaaSError) -> EngineCapabilities

    /// Makes it run unless it runs, ran or is being made already (same `spec.id`). Returns once the runtime has started
    /// it, or throws; readiness comes as an event.
    func ensure(_ spec: ContainerSpec) async throws(PaaSError) -> ContainerObservation

    /// SIGTERM, then SIGKILL after `graceSeconds`. Returns once no process of it lives. Fine for one that is gone.
    func stop(_ id: InstanceID, graceSeconds: Int, epoch: Int64) async throws(PaaSError)

    /// Forgets an exited container and gives its address back (which rests before it is used again).
    /// Only to be called once every router acknowledged a table without it.
    func remove(_ id: InstanceID, epoch: Int64) async throws(PaaSError)

    /// A full list, then changes. Ends with an error when the engine is lost; call again.
    func observe(epoch: Int64) async throws(PaaSError) -> AsyncThrowingStream<EngineEvent, any Error>

    /// Lines of one app that `query` wants, oldest first. Without `after`: the last `limit` lines. With it: the next lines,
    /// none if there are none yet. `instance` narrows to one run.
    func logs(app: AppID, instance: InstanceID?, matching query: LogQuery, after: LogCursor?, limit: Int)
        async throws(PaaSError) -> LogPage

    /// Removes the kept logs of an app that is being deleted.
    func removeLogs(app: AppID, epoch: Int64) async throws(PaaSError)
}

extension ContainerEngine {
    /// Lines of one app, or of one run, whatever their process and source.
    public func logs(app: AppID, instance: InstanceID?, after: LogCursor?, limit: Int) async throws(PaaSError)
        -> LogPage
    {
        try await logs(app: app, instance: instance, matching: LogQuery(), after: after, limit: limit)
    }
}

public struct EngineCapabilities: Sendable, Codable, Hashable {
    /// It can look at the sockets inside; else readiness is a TCP connect.
    public var seesSockets: Bool
    public var node: String
    public var bootID: String
    /// The OCI runtime in use, as in `runc 1.1.5`.
    public var runtime: String
    public init(seesSockets: Bool, node: String, bootID: String, runtime: String) {
        self.seesSockets = seesSockets
        self.node = node
        self.bootID = bootID
        self.runtime = runtime
    }
}
