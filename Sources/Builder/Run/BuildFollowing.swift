import Domain

extension BuildRun {
    /// Copies the container's log into the build's until it has ended and every line is there.
    func follow(_ app: App) async throws(BuildStop) -> ContainerObservation {
        var cursor = try await step { () async throws(PaaSError) in try await parts.log.cursor(id) }
        var missingLooks = 0
        var pause = Duration.milliseconds(50)
        while true {
            try await check()
            let version = watch.signal.version
            // Before reading: lines written before the end are all there once the end is seen.
            let seen = watch.observation(container)
            let after = cursor
            let page = try await step { () async throws(PaaSError) in
                try await parts.engine.logs(
                    app: app.id, instance: container, after: after, limit: after == nil ? 10_000 : 1000)
            }
            cursor = page.next
            if !page.lines.isEmpty {
                let lines = page.lines.map(\.text)
                try await step { () async throws(PaaSError) in
                    try await parts.log.append(id, lines, cursor: page.next)
                }
                progress.signal.raise()
                pause = .milliseconds(50)
                continue
            }
            if let seen, seen.state == .exited { return seen }
            if seen == nil && watch.listed {
                missingLooks += 1
                if missingLooks % 10 == 0 {
                    let all = try await step { () async throws(PaaSError) in
                        try await ContainerWatch.freshList(parts.engine, epoch: parts.epoch)
                    }
                    guard let found = all.first(where: { $0.id == container }) else {
                        throw .failed(
                            PaaSError(.appFailed, "the build's container is gone; push again", source: .platform))
                    }
                    if found.state == .exited { watch.apply(.changed(found)) }
                }
            }
            await watch.signal.wait(after: version, timeout: pause)
            pause = min(pause * 2, .milliseconds(250))
        }
    }
}
