import Domain

/// When to tell paasd what. News goes at once; counts of draining flows that only change go a few times a second. Pure.
struct AcknowledgementPacing: Sendable {
    enum Step: Sendable, Hashable {
        case nothing
        case send(RouterAcknowledgement)
        /// Ask again after so many milliseconds.
        case wait(UInt64)
    }

    private let interval: UInt64
    private var told: RouterAcknowledgement?
    private var lastSend: UInt64 = 0

    /// - Parameter interval: milliseconds between two reports that differ in counts alone.
    init(interval: UInt64 = 250) { self.interval = interval }

    /// A new connection: paasd may have restarted and know nothing.
    mutating func forget() { told = nil }

    mutating func next(_ present: RouterAcknowledgement, now: UInt64) -> Step {
        guard let told else { return send(present, now) }
        if told == present { return .nothing }
        let gone = told.draining.keys.contains { present.draining[$0] == nil }
        if told.mark != present.mark || told.failed != present.failed || gone { return send(present, now) }
        let due = lastSend + interval
        return now >= due ? send(present, now) : .wait(due - now)
    }

    private mutating func send(_ present: RouterAcknowledgement, _ now: UInt64) -> Step {
        told = present
        lastSend = now
        return .send(present)
    }
}
