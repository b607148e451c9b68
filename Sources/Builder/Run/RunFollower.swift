import Domain
import Logging

/// Shows a run of a release to the pusher while it runs: its lines, indented, go to the build's log together with the place in
/// the run's log from which to go on after a restart.
struct RunFollower: Sendable {
    let build: BuildRun
    let app: AppID
    let kind: ReleaseRun.Kind
    private var cursor: LogCursor?
    private var hasBegun = false
    /// Its lines can't be read or kept; the pusher was told.
    private var isBlind = false

    init(_ build: BuildRun, app: AppID, kind: ReleaseRun.Kind) {
        self.build = build
        self.app = app
        self.kind = kind
    }

    private var title: String {
        switch kind {
        case .release: "-----> Running release command..."
        case .postdeploy: "-----> Running postdeploy script..."
        }
    }

    /// The run as it is now, once all its lines until then are shown; nil if the release has none.
    mutating func look(_ version: Int) async throws(BuildStop) -> ReleaseRun? {
        let (build, app, kind) = (build, app, kind)
        let runs = try await build.persist { () async throws(PaaSError) in try await build.parts.runs(app, version) }
        guard let run = runs.first(where: { $0.kind == kind }), let instance = run.instance else {
            return runs.first { $0.kind == kind }
        }
        if !hasBegun {
            hasBegun = true
            await build.sayOnce(title)
            // A place in the log of the app; of a run that is not in it, reading begins with the first line.
            try await shown(run) { (follower) async throws(BuildStop) in
                follower.cursor = try await build.persist { () async throws(PaaSError) in
                    try await build.parts.log.cursor(build.id)
                }
            }
        }
        try await shown(run) { (follower) async throws(BuildStop) in try await follower.showLines(of: instance) }
        if run.state == .succeeded { await build.sayOnce("       \(run.name) exited with status 0") }
        return run
    }

    private mutating func showLines(of instance: InstanceID) async throws(BuildStop) {
        let (build, app) = (build, app)
        while true {
            let after = cursor
            let page = try await build.persist { () async throws(PaaSError) in
                try await build.parts.engine.logs(
                    app: app, instance: instance, after: after, limit: after == nil ? 10_000 : 1000)
            }
            if page.lines.isEmpty { return }
            cursor = page.next
            let lines = page.lines.filter { $0.source == .app }.map { "       \($0.text)" }
            try await build.persist { () async throws(PaaSError) in
                try await build.parts.log.append(build.id, lines, cursor: page.next)
            }
            build.progress.signal.raise()
        }
    }

    /// Showing decides nothing: the release may be up and the ref moved, or be about to. Whoever wants the lines that can't be
    /// shown is told where they are, once.
    private mutating func shown(
        _ run: ReleaseRun, _ work: (inout RunFollower) async throws(BuildStop) -> Void
    ) async throws(BuildStop) {
        if isBlind { return }
        do throws(BuildStop) {
            try await work(&self)
        } catch {
            guard case .failed(let reason) = error else { throw error }
            isBlind = true
            build.logger.warning(
                "lines of a run can't be shown", metadata: ["run": "\(run.name)", "error": "\(ErrorChain(reason))"])
            await build.sayOnce(" !     Its lines can't be shown now; see: paasctl logs -p \(run.name)")
        }
    }
}
