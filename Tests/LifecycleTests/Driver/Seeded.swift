import Fuzzing

/// Random bytes that are the same in each run with the same seed.
typealias Seeded = SplitMix64

extension SplitMix64 {
    mutating func pick<T>(_ list: [T]) -> T { list[Int.random(in: 0..<list.count, using: &self)] }

    mutating func bytes(upTo count: Int, from alphabet: [UInt8]? = nil) -> [UInt8] {
        (0..<Int.random(in: 0...count, using: &self)).map { _ in
            alphabet.map { pick($0) } ?? UInt8.random(in: 0...255, using: &self)
        }
    }
}
