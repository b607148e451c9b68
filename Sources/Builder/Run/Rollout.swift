import Domain
import Logging

/// What comes after the release is recorded: waiting until its processes are up, telling where they are, moving the ref.
struct Rollout: Sendable {
    let run: BuildRun
    let build: Build

    private var parts: BuildParts { run.parts }

    func finish() async throws(BuildStop) -> BuildOutcome {
        guard let version = build.release else {
            if build.options.buildOnly, let slug = build.slug {
                await run.sayOnce("       Built slug \(slug); nothing is deployed (build.only)")
                return .built(slug)
            }
            throw .failed(PaaSError(.internal, "a build succeeded without a release"))
        }
        if build.refMoved { return .released(version: version) }
        if !build.options.noWait {
            await run.sayOnce("-----> Launching...")
            let decided = try await decision(version)
            if let reason = decided { return .refused(reason: reason) }
        }
        try await tell(version)
        try await moveRef(version)
        if !build.options.noWait { try await showPostdeploy(version) }
        return .released(version: version)
    }

    /// The ref has moved: what can't be shown any more declines nothing.
    private func showPostdeploy(_ version: Int) async throws(BuildStop) {
        do throws(BuildStop) {
            try await followPostdeploy(version)
        } catch {
            guard case .failed(let reason) = error else { throw error }
            run.logger.warning(
                "a postdeploy script can't be followed", metadata: ["error": "\(ErrorChain(reason))"])
            await run.sayOnce(
                " !     What becomes of the postdeploy script can't be shown now; see: paasctl releases output v\(version) --postdeploy"
            )
        }
    }

    /// Nil: the release is or was current. Else why not.
    private func decision(_ version: Int) async throws(BuildStop) -> String? {
        var pause = Duration.milliseconds(100)
        var phase = RunFollower(run, app: build.app, kind: .release)
        while true {
            if Task.isCancelled { throw .interrupted }
            let (state, output) = try await run.persist { () async throws(PaaSError) in
                let found = try await parts.store.releaseState(build.app, version: version)
                return (found.state, found.output)
            }
            let phaseRun = try await phase.look(version)
            switch state {
            case .current: return nil
            case .failed:
                if let phaseRun, phaseRun.state == .failed {
                    // What it wrote was shown.
                    for line in BuildWords.error(phaseRun.reason ?? "\(phaseRun.name) failed") {
                        await run.sayOnce(line)
                    }
                } else {
                    let lines = (output ?? "").isEmpty ? [] : BuildWords.body(output ?? "")
                    for line in lines { await run.sayOnce(line) }
                }
                let goesOn = try await run.whatGoesOn(build.app)
                let again = build.source.kind == .push ? " The same commit can be pushed again." : ""
                await run.sayOnce(" !     Release v\(version) failed; \(goesOn).\(again)")
                return "release v\(version) failed"
            case .superseded:
                let wasCurrent = try await run.persist { () async throws(PaaSError) in
                    try await parts.store.buildsAwaitingRef().contains { $0.id == build.id }
                }
                if wasCurrent { return nil }
                await run.sayOnce(" !     Release v\(version) was superseded by a newer release before it was up.")
                return "release v\(version) was superseded"
            case .pending, .rolling: break
            }
            do { try await Task.sleep(for: pause) } catch { throw .interrupted }
            pause = min(pause * 2, phaseRun?.state == .running ? .milliseconds(250) : .seconds(1))
        }
    }

    /// Shows the postdeploy script of a first release to its end. The release stays, whatever becomes of it.
    private func followPostdeploy(_ version: Int) async throws(BuildStop) {
        var follower = RunFollower(run, app: build.app, kind: .postdeploy)
        var version = version
        var pause = Duration.milliseconds(100)
        while let script = try await follower.look(version) {
            switch script.state {
            case .succeeded: return
            case .failed:
                for line in BuildWords.error(script.reason ?? "\(script.name) failed") { await run.sayOnce(line) }
                await run.sayOnce(
                    " !     v\(version) stays. The script is not run again by itself.")
                return
            case .superseded:
                // The same code with another config became current: its script is the one that runs.
                version += 1
                continue
            case .pending, .running: break
            }
            if Task.isCancelled { throw .interrupted }
            do { try await Task.sleep(for: pause) } catch { throw .interrupted }
            pause = min(pause * 2, .milliseconds(250))
        }
    }

    private func tell(_ version: Int) async throws(BuildStop) {
        let app = try await run.persist { () async throws(PaaSError) in try await parts.store.app(build.app) }
        let ports = try await run.persist { () async throws(PaaSError) in try await parts.ports(build.app) }
        await run.sayOnce(
            build.options.noWait
                ? "       Released v\(version); it is being rolled out, follow it with: paasctl ps -a \(app.name)"
                : "       Released v\(version)")
        for port in ports.sorted(by: { $0.name < $1.name }) {
            if port.state == .failed {
                await run.sayOnce(
                    " !     Port \(port.name) (\(port.publicPort)) does not work: \(port.reason ?? "unknown")")
            } else {
                await run.sayOnce(
                    "       \(app.name) is at \(port.protocol.rawValue) \(Settings.endpoint(parts.settings.publicAddress, port.publicPort)) (port \(port.name))"
                )
            }
        }
        if try await isFirst(version) {
            let release = try await run.persist { () async throws(PaaSError) in
                try await parts.release(build.app, version)
            }
            let formation = try await run.persist { () async throws(PaaSError) in
                try await parts.formation(build.app)
            }
            await guide(formation.filter { release.processTypes[$0.key] != nil }, app, hasPorts: !ports.isEmpty)
        }
    }

    /// No release before it was ever current.
    private func isFirst(_ version: Int) async throws(BuildStop) -> Bool {
        for earlier in (1..<version).reversed() {
            let release = try await run.persist { () async throws(PaaSError) in
                try await parts.release(build.app, earlier)
            }
            if release.wasCurrent { return false }
        }
        return true
    }

    /// What the owner of a new app has to do by hand: start what is not started by itself, and expose it.
    private func guide(_ formation: [String: FormationEntry], _ app: App, hasPorts: Bool) async {
        let types = formation.keys.sorted()
        guard let first = types.first else { return }
        let idle = formation.values.allSatisfy { $0.quantity == 0 }
        if idle {
            await run.sayOnce("       Nothing runs yet. To start a process type, and to give it a public port:")
            for type in types { await run.sayOnce("         paasctl scale \(type)=1 -a \(app.name)") }
        } else if !hasPorts {
            await run.sayOnce("       It has no public port. If it serves one:")
        } else {
            return
        }
        let started = types.first { formation[$0].map { $0.quantity > 0 } ?? false } ?? first
        await run.sayOnce("         paasctl ports add NAME --protocol tcp --process \(started) -a \(app.name)")
    }

    /// Step 9, by compare-and-swap.
    private func moveRef(_ version: Int) async throws(BuildStop) {
        guard build.source.kind == .push, let ref = build.source.ref, let commit = build.source.commit else {
            return try await run.persist { () async throws(PaaSError) in try await parts.store.markRefMoved(build.id) }
        }
        let zero = PushCommand.zero
        let old = build.source.previousCommit.flatMap { $0 == zero ? nil : $0 }
        let branch = ref.hasPrefix("refs/heads/") ? String(ref.dropFirst(11)) : nil
        let moved = try await run.persist { () async throws(PaaSError) in try await swap(ref, old, commit) }
        if moved, let branch {
            try await run.persist { () async throws(PaaSError) in
                let fixed = try await parts.store.fixDeployBranch(build.app, branch)
                try await parts.sources.setHead(app: build.app, branch: fixed)
            }
        }
        if !moved {
            await run.sayOnce(
                " !     \(ref) changed while this was built and was left alone; v\(version) runs commit \(commit.prefix(12))."
            )
        }
        parts.faults.reached(.refMoved)
        try await run.persist { () async throws(PaaSError) in try await parts.store.markRefMoved(build.id) }
    }

    /// False when the ref was moved by somebody else.
    private func swap(_ ref: String, _ old: String?, _ commit: String) async throws(PaaSError) -> Bool {
        do throws(PaaSError) {
            try await parts.sources.updateRef(app: build.app, ref: ref, old: old, new: commit)
            return true
        } catch  where error.code == .conflict {
            let present = try await parts.sources.readRef(app: build.app, ref: ref)
            // Moved before a restart.
            if present == commit { return true }
            // This push came while an earlier one was still to move the ref: it follows that one.
            guard let present, try await wasPushedEarlier(present, ref) else { return false }
            do throws(PaaSError) {
                try await parts.sources.updateRef(app: build.app, ref: ref, old: present, new: commit)
                return true
            } catch  where error.code == .conflict {
                return false
            }
        }
    }

    private func wasPushedEarlier(_ commit: String, _ ref: String) async throws(PaaSError) -> Bool {
        var before = build.number
        while true {
            let earlier = try await parts.store.builds(build.app, limit: 100, before: before)
            if earlier.contains(where: { $0.source.kind == .push && $0.source.ref == ref && $0.source.commit == commit }
            ) {
                return true
            }
            guard let last = earlier.last, earlier.count == 100 else { return false }
            before = last.number
        }
    }
}
