import Domain

/// When to tell paasd what. News goes at once; counts of draining flows that only change go a few times a second; what did
/// not change is repeated now and then, as a sign of life. Pure.
struct AcknowledgementPacing: Sendable {
    enum Step: Sendable, Hashable {
        case send(RouterAcknowledgement)
        /// Ask again after so many milliseconds.
        case wait(UInt64)
    }

    private let interval: UInt64
    private let repetition: UInt64
    private var told: RouterAcknowledgement?
    private var lastSend: UInt64 = 0

    /// - Parameters:
    ///   - interval: milliseconds between two reports that differ in counts alone.
    ///   - repetition: milliseconds between two that don't differ at all.
    init(interval: UInt64 = 250, repetition: UInt64) {
        self.interval = interval
        self.repetition = repetition
    }

    /// A new connection: paasd may have restarted and know nothing.
    mutating func forget() { told = nil }

    mutating func next(_ present: RouterAcknowledgement, now: UInt64) -> Step {
        guard let told else { return send(present, now) }
        let gone = told.draining.keys.contains { present.draining[$0] == nil }
        if told.mark != present.mark || told.failed != present.failed || gone { return send(present, now) }
        let due = lastSend + (told == present ? repetition : interval)
        return now >= due ? send(present, now) : .wait(due - now)
    }

    private mutating func send(_ present: RouterAcknowledgement, _ now: UInt64) -> Step {
        told = present
        lastSend = now
        return .send(present)
    }
}
