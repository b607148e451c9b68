/// The steps that make a container, in order. Each may be repeated; all are undone together, from what is found on the
/// host, by `ContainerService.destroy`.
enum StartStep: String, CaseIterable, Sendable {
    /// Its folder and its record, before anything else of it exists.
    case record
    /// Address and network namespace.
    case network
    /// Stack, slug, writable layer.
    case mounts
    /// Files inside, and the OCI bundle.
    case bundle
    /// conmon and the runtime have created it; the first process waits.
    case monitor
    /// The process runs.
    case start
    /// The record says so.
    case recordRunning = "running"

    /// Name with which a test has the engine killed right after the step (`PAAS_FAULT`).
    var faultPoint: String { "engine-\(rawValue)" }
}
