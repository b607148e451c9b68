/// Which backend a flow tries next. Pure.
enum BackendSelection {
    /// Round robin: the first from `start` on that was not tried and is not to be skipped; when all that are left are to be
    /// skipped, the first of those, because a short pause is no reason to turn a client away.
    static func next(
        count: Int, start: Int, isTried: (Int) -> Bool, isSkipped: (Int) -> Bool
    ) -> Int? {
        guard count > 0 else { return nil }
        var lastResort: Int?
        var index = Int(UInt(bitPattern: start) % UInt(count))
        for _ in 0..<count {
            if !isTried(index) {
                if !isSkipped(index) { return index }
                if lastResort == nil { lastResort = index }
            }
            index = index + 1 == count ? 0 : index + 1
        }
        return lastResort
    }

    /// Affinity: the highest rank wins, so that a client keeps its backend while others come and go.
    static func highest(
        count: Int, rank: (Int) -> UInt64, isTried: (Int) -> Bool, isSkipped: (Int) -> Bool
    ) -> Int? {
        var best: (index: Int, rank: UInt64)?
        var lastResort: (index: Int, rank: UInt64)?
        for index in 0..<count where !isTried(index) {
            let value = rank(index)
            if isSkipped(index) {
                if lastResort.map({ value > $0.rank }) ?? true { lastResort = (index, value) }
            } else if best.map({ value > $0.rank }) ?? true {
                best = (index, value)
            }
        }
        return (best ?? lastResort)?.index
    }

    /// A rank from a client's address and a backend's stable hash.
    static func rank(_ client: UInt64, _ backend: UInt64) -> UInt64 {
        var x = client ^ (backend &* 0x9e37_79b9_7f4a_7c15)
        x = (x ^ (x >> 30)) &* 0xbf58_476d_1ce4_e5b9
        x = (x ^ (x >> 27)) &* 0x94d0_49bb_1331_11eb
        return x ^ (x >> 31)
    }
}
