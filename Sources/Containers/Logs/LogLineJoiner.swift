import Domain

/// Puts together what conmon had to write in parts: a line that its process wrote in several goes. Parts are joined while
/// they follow each other, up to `maximumBytes`.
struct LogLineJoiner {
    static let maximumBytes = 16 << 10
    /// The rest of a line is waited for so long, then its beginning is shown as it is.
    static let patienceSeconds = 2.0

    private let name: LogRun.Name
    private var parts: ContainerLogLine?
    private var after = LogPosition.start
    private(set) var items: [LogRun.Item] = []
    /// Behind everything that is in `items`, or can't be read.
    private(set) var end: LogPosition

    init(name: LogRun.Name, end: LogPosition) {
        self.name = name
        self.end = end
    }

    /// - Parameters:
    ///   - raw: a line of the file, without its newline.
    ///   - position: right after it.
    mutating func add(_ raw: ArraySlice<UInt8>, position: LogPosition) {
        guard let line = ContainerLogLine(raw) else {
            if parts == nil { end = position }
            return
        }
        if let known = parts, known.isError != line.isError || known.text.count + line.text.count > Self.maximumBytes {
            flush()
        }
        if parts == nil {
            parts = line
        } else {
            parts?.text += line.text
            parts?.isPartial = line.isPartial
        }
        after = position
        if !line.isPartial { flush() }
    }

    /// The beginning of a line, taken out: its rest is in the next file. Nil if there is none of that stream.
    mutating func takeOpen(isError: Bool) -> ContainerLogLine? {
        guard let open = parts, open.isError == isError else { return nil }
        parts = nil
        return open
    }

    /// Nothing follows that could belong to what is open.
    mutating func flush() {
        guard let line = parts else { return }
        parts = nil
        end = after
        items.append(
            LogRun.Item(
                nanoseconds: line.nanoseconds, isError: line.isError,
                line: line.logLine(source: name.source, process: name.name),
                position: after))
    }

    /// The file ends here for now.
    mutating func flushIfOld(now: Timestamp) {
        if let line = parts, now.seconds(since: line.time) > Self.patienceSeconds { flush() }
    }
}
