import Domain

/// One reader of one build's log: gives line after line and, while the build is driven, waits for more.
actor BuildLogReader {
    private let log: any BuildLogStore
    private let build: BuildID
    private let progress: BuildProgress?
    private var position = BuildLogPosition.start
    private var skip: Int
    private var ready: ArraySlice<String> = []

    init(log: any BuildLogStore, build: BuildID, fromLine: Int, progress: BuildProgress?) {
        self.log = log
        self.build = build
        self.progress = progress
        skip = max(0, fromLine)
    }

    /// Nil at the end.
    func next() async throws -> String? {
        while ready.isEmpty {
            try Task.checkCancellation()
            let version = progress?.signal.version ?? 0
            // Before reading: what was written before the end is read below.
            let over = progress?.ended ?? true
            let page = try await log.read(build, from: position, limit: 500)
            position = page.next
            ready = page.lines[...]
            let dropped = min(skip, ready.count)
            ready = ready.dropFirst(dropped)
            skip -= dropped
            if !page.lines.isEmpty { continue }
            guard let progress, !over else { return nil }
            await progress.signal.wait(after: version)
        }
        return ready.removeFirst()
    }
}
