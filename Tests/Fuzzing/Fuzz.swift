import Glibc

/// Random bytes for parsers of foreign input: the same seed gives the same rounds. A test of CI runs a few hundred, `bin/test fuzz`
/// as many as `SLIPWAY_FUZZ_ROUNDS` says, from a seed of that day (`SLIPWAY_FUZZ_SEED` repeats one).
public struct Fuzz: Sendable {
    public let rounds: Int
    public let seed: UInt64

    public init(
        defaultRounds: Int = 500, rounds: String? = variable("SLIPWAY_FUZZ_ROUNDS"),
        seed: String? = variable("SLIPWAY_FUZZ_SEED")
    ) {
        self.rounds = rounds.flatMap(Int.init) ?? defaultRounds
        self.seed = seed.flatMap(UInt64.init) ?? 1
    }

    public static func variable(_ name: String) -> String? { getenv(name).map { String(cString: $0) } }

    /// Calls `check` with variants of `samples`: cut, doubled, flipped, spliced with each other and with `words`.
    /// - Parameter words: what means something to the parser.
    public func mutations(of samples: [[UInt8]], words: [String], _ check: ([UInt8]) throws -> Void) rethrows {
        var random = SplitMix64(state: seed)
        let dictionary = words.map { Array($0.utf8) }
        for sample in samples { try check(sample) }
        for _ in 0..<rounds {
            var bytes = samples.randomElement(using: &random) ?? []
            for _ in 0...Int.random(in: 0..<4, using: &random) {
                Self.mutate(&bytes, samples, dictionary, &random)
            }
            try check(bytes)
        }
    }

    private static func mutate(
        _ bytes: inout [UInt8], _ samples: [[UInt8]], _ dictionary: [[UInt8]], _ random: inout SplitMix64
    ) {
        let place = Int.random(in: 0...bytes.count, using: &random)
        switch Int.random(in: 0..<7, using: &random) {
        case 0: bytes.removeSubrange(place...)
        case 1: bytes.insert(UInt8.random(in: 0...255, using: &random), at: place)
        case 2 where place < bytes.count: bytes[place] ^= 1 << UInt8.random(in: 0..<8, using: &random)
        case 3 where place < bytes.count: bytes.remove(at: place)
        case 4: bytes.insert(contentsOf: dictionary.randomElement(using: &random) ?? [0], at: place)
        case 5:
            let other = samples.randomElement(using: &random) ?? []
            bytes.replaceSubrange(place..., with: other.suffix(Int.random(in: 0...other.count, using: &random)))
        default:
            let part = bytes[place...].prefix(Int.random(in: 0...64, using: &random))
            for _ in 0..<Int.random(in: 1...8, using: &random) where bytes.count < 1 << 16 {
                bytes.insert(contentsOf: part, at: place)
            }
        }
    }
}

/// SplitMix64, for which every seed is as good as another.
public struct SplitMix64: RandomNumberGenerator, Sendable {
    public var state: UInt64
    public init(state: UInt64) { self.state = state }

    public mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var z = state
        z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
        z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
        return z ^ (z >> 31)
    }
}
