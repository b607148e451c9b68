/// Builds as the API and the push see them.
public protocol BuildService: Sendable {
    /// Opens a build. A commit is one that the app's repository holds, and is pinned first. `conflict` if one is active.
    /// - Parameters:
    ///   - id: the same for a request and its repetition, which gives the build that was opened under it within
    ///     `Limits.idempotencySeconds`; nil: a new one each time. An archive has its own.
    ///   - upload: what `receive` gave, finished; for an archive only. It is the build's from here on, and is removed
    ///     when no build comes of it.
    func start(
        _ app: App, id: BuildID?, source: Build.Source, options: Build.Options, upload: (any SourceUpload)?,
        actor: Principal
    ) async throws(PaaSError) -> Build
    /// Room for an archive that a build is to be opened with. `conflict` if one is active.
    func receive(_ app: App, actor: Principal) async throws(PaaSError) -> any SourceUpload
    /// How many builds of the host a queued one waits for; nil for one that does not wait.
    func waitsFor(_ build: BuildID) async -> Int?
    func cancel(_ build: BuildID) async throws(PaaSError)
    /// Lines as the pusher sees them (titles `-----> …`, body indented by seven spaces, ` !     ` for errors), from the
    /// first on. With `follow` it ends when build and rollout are decided, else at the last line there is.
    func log(_ build: BuildID, follow: Bool) async throws(PaaSError) -> AsyncThrowingStream<String, any Error>
    /// Waits until the build failed, or its rollout is decided (`noWait`: its release is recorded) and its ref moved.
    func outcome(_ build: BuildID) async throws(PaaSError) -> BuildOutcome
    func purgeCache(_ app: AppID) async throws(PaaSError)
}

public enum BuildOutcome: Sendable, Hashable {
    case released(version: Int)
    /// `-o build.only`
    case built(SlugDigest)
    /// Words for ` ! [remote rejected] main -> main (…)`, as in `build 12 failed`.
    case refused(reason: String)
}

/// Git over HTTP and SSH, as the API sees it: bytes to and from git's own programs, streamed.
public protocol GitTransport: Sendable {
    /// `GET …/info/refs?service=…`
    /// - Parameter protocolVersion: the request's `Git-Protocol` header, passed on.
    func advertise(app: AppID, service: GitService, protocolVersion: String?) async throws(PaaSError) -> any GitExchange
    /// `POST …/git-upload-pack` or `…/git-receive-pack`. A push carries a ticket that fixes principal and app.
    func serve(app: AppID, service: GitService, protocolVersion: String?, ticket: String?) async throws(PaaSError)
        -> any GitExchange
    /// Over a connection that stays open both ways, as SSH's: a fetch from its list of refs on, a push from its commands on.
    func session(app: AppID, service: GitService, ticket: String?) async throws(PaaSError) -> any GitExchange
}

public enum GitService: String, Sendable, Codable {
    case uploadPack = "git-upload-pack"
    case receivePack = "git-receive-pack"
}

/// One run of a git program. The caller writes the request's body, then reads the reply to its end. Back-pressure holds
/// both ways: `write` returns when the bytes are on their way, `read` gives what there is.
public protocol GitExchange: Sendable {
    func write(_ bytes: [UInt8]) async throws(PaaSError)
    func finishWriting() async throws(PaaSError)
    /// Next part of the reply, at most 64 KiB; nil at the end. Throws if the program failed without a reply.
    func read() async throws(PaaSError) -> [UInt8]?
    /// Ends the program if it still runs. Fine after the end.
    func close() async
}

extension BuildService {
    /// Opens a new build of anything but an archive.
    public func start(_ app: App, source: Build.Source, options: Build.Options, actor: Principal)
        async throws(PaaSError) -> Build
    {
        try await start(app, id: nil, source: source, options: options, upload: nil, actor: actor)
    }

    /// Opens a new build.
    public func start(
        _ app: App, source: Build.Source, options: Build.Options, upload: (any SourceUpload)?, actor: Principal
    ) async throws(PaaSError) -> Build {
        try await start(app, id: nil, source: source, options: options, upload: upload, actor: actor)
    }
}
