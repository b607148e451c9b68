/// The `shallow OBJECT` lines with which the body of a push from a shallow clone begins (gitprotocol-pack(5)).
///
/// git's receive-pack can't take them together with a proc-receive hook: it checks such refs only while it moves them itself,
/// and ends with an assertion when a hook did. So they are taken out here and written into the repository's own list of
/// shallow commits first, which makes the push an ordinary one into a shallow repository.
struct ShallowPrelude {
    /// More than any clone has, and little enough to hold.
    static let maximumLines = 10_000
    static let maximumBytes = 1 << 20

    enum Progress: Equatable {
        case needsMore
        /// What follows, unchanged, is for git.
        case complete(shallow: [String], rest: [UInt8])
    }

    private var buffer: [UInt8] = []
    private var position = 0
    private var shallow: [String] = []

    /// Takes the next part of the body. Not to be called again once complete.
    mutating func feed(_ bytes: ArraySlice<UInt8>) -> Progress {
        buffer += bytes
        while true {
            guard buffer.count - position >= 4 else { return undecided() }
            let head = String(decoding: buffer[position..<position + 4], as: UTF8.self)
            guard let length = Int(head, radix: 16), length > 12, length <= PacketReader.maximumBytes else {
                return complete()
            }
            let prefix = buffer[(position + 4)...].prefix(8)
            guard "shallow ".utf8.starts(with: prefix) else { return complete() }
            guard buffer.count - position >= length else { return undecided() }
            var id = String(decoding: buffer[(position + 12)..<(position + length)], as: UTF8.self)
            if id.last == "\n" { id.removeLast() }
            guard GitRules.isObjectID(id), shallow.count < Self.maximumLines else { return complete() }
            shallow.append(id)
            position += length
        }
    }

    /// The body ended.
    mutating func finish() -> Progress { complete() }

    private mutating func undecided() -> Progress { buffer.count > Self.maximumBytes ? complete() : .needsMore }

    private mutating func complete() -> Progress { .complete(shallow: shallow, rest: Array(buffer[position...])) }
}
