/// One of the two ends of a flow.
enum Side: Sendable {
    case client, backend
    var other: Side { self == .client ? .backend : .client }
}

/// What the relay of an established flow may do next, in both directions. Pure: the shell reads and writes, tells what
/// came of it, and does what is returned. A byte that is read and written on at once needs no call at all.
struct RelayState: Sendable, Hashable {
    /// The bytes that come from one side.
    enum Direction: Sendable, Hashable {
        /// Read and passed on. → `blocked`, `refused`, `finished`
        case open
        /// The other side takes no more for now; this one is not read, so that its sender is held back. → `open`, `refused`
        case blocked
        /// The other side takes no more at all; what it still has to say is passed on before this one is reset.
        case refused
        /// The end was read and passed on.
        case finished
    }

    enum Event: Sendable, Hashable {
        /// Bytes that this side sent could not be written at once.
        case blocked(from: Side)
        /// All that waited has been written.
        case drained(from: Side)
        /// This side sends no more.
        case ended(from: Side)
        /// Writing to this side failed.
        case refused(by: Side)
        /// Reading from this side failed.
        case failed(Side)
    }

    enum Action: Sendable, Hashable {
        case none
        case stopReading(Side)
        case resumeReading(Side)
        /// Passes the end on; the other direction goes on.
        case shutdownWriting(Side)
        /// Both directions ended.
        case close
        /// The other side went away without an end: this one must see that too.
        case reset(Side)
    }

    private(set) var fromClient = Direction.open
    private(set) var fromBackend = Direction.open

    mutating func handle(_ event: Event) -> Action {
        switch event {
        case .blocked(let side):
            guard self[side] == .open else { return .none }
            self[side] = .blocked
            return .stopReading(side)
        case .drained(let side):
            guard self[side] == .blocked else { return .none }
            self[side] = .open
            return .resumeReading(side)
        case .ended(let side):
            precondition(self[side] != .blocked, "a side that is not read can't end")
            guard self[side] == .open else { return .none }
            if self[side.other] == .refused { return .reset(side.other) }
            self[side] = .finished
            return self[side.other] == .finished ? .close : .shutdownWriting(side.other)
        case .refused(let side):
            // A server may answer and close before it has read all of a request: the answer waits to be read here.
            // If nothing is to come from there, or the other side takes none of it, nobody would ever be read again.
            if self[side] == .finished || self[side] == .refused { return .reset(side.other) }
            self[side.other] = .refused
            return .stopReading(side.other)
        case .failed(let side):
            return .reset(side.other)
        }
    }

    private subscript(_ side: Side) -> Direction {
        get { side == .client ? fromClient : fromBackend }
        set { if side == .client { fromClient = newValue } else { fromBackend = newValue } }
    }
}
