import Domain

/// Shows a run of a release to the pusher while it runs: its lines, indented, go to the build's log together with the place in
/// the run's log from which to go on after a restart.
struct RunFollower: Sendable {
    let build: BuildRun
    let app: AppID
    let kind: ReleaseRun.Kind
    private var cursor: LogCursor?
    private var hasBegun = false

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
            cursor = try await build.persist { () async throws(PaaSError) in
                try await build.parts.log.cursor(build.id)
            }
        }
        while true {
            let after = cursor
            let page = try await build.persist { () async throws(PaaSError) in
                try await build.parts.engine.logs(
                    app: app, instance: instance, after: after, limit: after == nil ? 10_000 : 1000)
            }
            if page.lines.isEmpty { break }
            cursor = page.next
            let lines = page.lines.filter { $0.source == .app }.map { "       \($0.text)" }
            try await build.persist { () async throws(PaaSError) in
                try await build.parts.log.append(build.id, lines, cursor: page.next)
            }
            build.progress.signal.raise()
        }
        if run.state == .succeeded { await build.sayOnce("       \(run.name) exited with status 0") }
        return run
    }
}
