/// Coarse deadlines of many flows: setting, moving and cancelling cost the same however many there are, and no memory but
/// three numbers a flow. A deadline beyond the horizon comes early; the owner looks at the real one and sets it again.
struct TimingWheel {
    private let tick: UInt64
    private var heads: [Int32]
    private var next: [Int32] = []
    private var previous: [Int32] = []
    private var slot: [Int32] = []
    /// The last tick that was handled.
    private var current: UInt64
    private(set) var count = 0

    /// - Parameters:
    ///   - tick: milliseconds of one slot; deadlines are rounded up to it.
    ///   - slots: how many ticks ahead a deadline can be set.
    init(tick: UInt64, slots: Int, now: UInt64) {
        self.tick = tick
        heads = Array(repeating: -1, count: slots)
        current = now / tick
    }

    /// Sets or moves the deadline of `id`, a small number that its owner reuses.
    mutating func schedule(_ id: Int, at deadline: UInt64, now: UInt64) {
        cancel(id)
        // An idle wheel was not advanced.
        if count == 0 { current = max(current, now / tick) }
        while slot.count <= id {
            next.append(-1)
            previous.append(-1)
            slot.append(-1)
        }
        let due = min(max((deadline + tick - 1) / tick, current + 1), current + UInt64(heads.count) - 1)
        let place = Int(due % UInt64(heads.count))
        let head = heads[place]
        next[id] = head
        previous[id] = -1
        slot[id] = Int32(place)
        if head >= 0 { previous[Int(head)] = Int32(id) }
        heads[place] = Int32(id)
        count += 1
    }

    mutating func cancel(_ id: Int) {
        guard id < slot.count, slot[id] >= 0 else { return }
        let after = next[id], before = previous[id]
        if before >= 0 { next[Int(before)] = after } else { heads[Int(slot[id])] = after }
        if after >= 0 { previous[Int(after)] = before }
        slot[id] = -1
        count -= 1
    }

    /// One id whose slot has come, no longer scheduled; nil when there is none left up to `now`.
    mutating func popDue(now: UInt64) -> Int? {
        let target = now / tick
        while true {
            let head = heads[Int(current % UInt64(heads.count))]
            if head >= 0 && current <= target {
                cancel(Int(head))
                return Int(head)
            }
            if current >= target { return nil }
            if count == 0 {
                current = target
                return nil
            }
            current += 1
        }
    }
}
