import Glibc
import OS

/// git's pkt-line format (gitprotocol-common(5)): four hex digits of length, which count themselves; `0000` is a flush.
struct PacketReader: ~Copyable {
    private let source: OwnedFD
    /// Longest packet that git sends.
    static let maximumBytes = 65_520

    init(_ source: consuming OwnedFD) { self.source = source }

    enum Packet: Equatable {
        case data([UInt8])
        case flush
    }

    struct Malformed: Error, CustomStringConvertible { let description: String }

    /// Nil at the end of the input.
    borrowing func next() throws -> Packet? {
        let head = try source.readFully(4)
        if head.isEmpty { return nil }
        guard head.count == 4, let length = Int(String(decoding: head, as: UTF8.self), radix: 16),
            head.allSatisfy({ ($0 >= 48 && $0 <= 57) || ($0 >= 97 && $0 <= 102) || ($0 >= 65 && $0 <= 70) })
        else { throw Malformed(description: "git sent a packet without a length") }
        if length == 0 { return .flush }
        guard length >= 4, length <= Self.maximumBytes else {
            throw Malformed(description: "git sent a packet of length \(length)")
        }
        let body = try source.readFully(length - 4)
        guard body.count == length - 4 else { throw Malformed(description: "git sent half a packet") }
        return .data(body)
    }

    /// The lines up to the next flush, without their newlines.
    borrowing func section(limit: Int) throws -> [String] {
        var lines: [String] = []
        while let packet = try next(), case .data(let bytes) = packet {
            guard lines.count < limit else { throw Malformed(description: "more than \(limit) packets at once") }
            let line = bytes.last == 10 ? bytes.dropLast() : bytes[...]
            lines.append(String(decoding: line, as: UTF8.self))
        }
        return lines
    }
}

enum PacketWriter {
    static let flush = Array("0000".utf8)

    static func line(_ text: String) -> [UInt8] {
        let bytes = Array(text.utf8).prefix(PacketReader.maximumBytes - 4)
        let digits = String(bytes.count + 4, radix: 16)
        return Array((String(repeating: "0", count: 4 - digits.count) + digits).utf8) + bytes
    }
}
