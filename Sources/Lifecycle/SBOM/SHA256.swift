/// SHA-256 (FIPS 180-4), for content of a few megabytes: this program is linked statically into every container, where a
/// cryptographic library would be most of its size.
struct SHA256 {
    private static let constants: [UInt32] = primes(64).map { fraction(of: $0, cube: true) }
    private static let start: [UInt32] = primes(8).map { fraction(of: $0, cube: false) }

    private static func primes(_ count: Int) -> [UInt64] {
        var found: [UInt64] = []
        var candidate: UInt64 = 2
        while found.count < count {
            if found.allSatisfy({ candidate % $0 != 0 }) { found.append(candidate) }
            candidate += 1
        }
        return found
    }

    /// The first 32 bits of the fractional part of a root, by bisection in whole numbers, so that no rounding counts.
    private static func fraction(of prime: UInt64, cube: Bool) -> UInt32 {
        // Roots are below 32: the largest x with (x / 2^32)^n <= prime, for x below 2^37.
        var low: UInt64 = 0
        var high: UInt64 = 1 << 37
        func isAtMost(_ x: UInt64) -> Bool {
            let square = x.multipliedFullWidth(by: x)
            // Compared as x^2 <= p * 2^64, or x^2 * x <= p * 2^96.
            if !cube { return square.high < prime || (square.high == prime && square.low == 0) }
            let lowPart = square.low.multipliedFullWidth(by: x)
            let highPart = square.high.multipliedFullWidth(by: x)
            let (middle, carry) = highPart.low.addingReportingOverflow(lowPart.high)
            let top = highPart.high + (carry ? 1 : 0)
            // p * 2^96 = (p << 32) * 2^64
            let limit = prime << 32
            return top == 0 && (middle < limit || (middle == limit && lowPart.low == 0))
        }
        while high - low > 1 {
            let middle = (low + high) / 2
            if isAtMost(middle) { low = middle } else { high = middle }
        }
        return UInt32(truncatingIfNeeded: low)
    }

    /// The 32 bytes of a message's digest.
    static func digest(of message: [UInt8]) -> [UInt8] {
        var state = start
        var bytes = message
        bytes.append(0x80)
        while bytes.count % 64 != 56 { bytes.append(0) }
        let bits = UInt64(message.count) * 8
        for shift in stride(from: 56, through: 0, by: -8) {
            bytes.append(UInt8(truncatingIfNeeded: bits >> UInt64(shift)))
        }
        let constants = constants
        var words = [UInt32](repeating: 0, count: 64)
        bytes.withUnsafeBufferPointer { bytes in
            for block in stride(from: 0, to: bytes.count, by: 64) {
                for i in 0..<16 {
                    let at = block + i * 4
                    words[i] =
                        UInt32(bytes[at]) << 24 | UInt32(bytes[at + 1]) << 16 | UInt32(bytes[at + 2]) << 8
                        | UInt32(bytes[at + 3])
                }
                for i in 16..<64 {
                    let a = words[i - 15], b = words[i - 2]
                    let s0 = rotate(a, 7) ^ rotate(a, 18) ^ (a >> 3)
                    let s1 = rotate(b, 17) ^ rotate(b, 19) ^ (b >> 10)
                    words[i] = words[i - 16] &+ s0 &+ words[i - 7] &+ s1
                }
                mix(&state, words, constants)
            }
        }
        return state.flatMap { word in (0..<4).map { UInt8(truncatingIfNeeded: word >> UInt32(24 - $0 * 8)) } }
    }

    private static func mix(_ state: inout [UInt32], _ words: [UInt32], _ constants: [UInt32]) {
        var a = state[0], b = state[1], c = state[2], d = state[3], e = state[4], f = state[5], g = state[6],
            h = state[7]
        for i in 0..<64 {
            let s1 = rotate(e, 6) ^ rotate(e, 11) ^ rotate(e, 25)
            let one = h &+ s1 &+ ((e & f) ^ (~e & g)) &+ constants[i] &+ words[i]
            let s0 = rotate(a, 2) ^ rotate(a, 13) ^ rotate(a, 22)
            let two = s0 &+ ((a & b) ^ (a & c) ^ (b & c))
            (h, g, f, e, d, c, b, a) = (g, f, e, d &+ one, c, b, a, one &+ two)
        }
        for (i, value) in [a, b, c, d, e, f, g, h].enumerated() { state[i] = state[i] &+ value }
    }

    private static func rotate(_ value: UInt32, _ count: UInt32) -> UInt32 { value >> count | value << (32 - count) }
}
