import Domain
import Glibc
import OS

/// `/proc/PID/net/{tcp,tcp6,udp,udp6}`: which sockets are bound in a network namespace.
public enum ProcNet {
    /// Above this many bytes of one table the rest is not looked at.
    static let maximumBytes = 4 << 20

    /// Sockets that take connections (TCP listening) or datagrams (UDP bound). Lines that can't be read are left out.
    public static func sockets(_ table: [UInt8], protocol: TransportProtocol) -> [ObservedSocket] {
        var found: [ObservedSocket] = []
        for line in table.split(separator: UInt8(ascii: "\n")) {
            let fields = line.split(whereSeparator: { $0 == 32 || $0 == 9 })
            guard fields.count >= 4, fields[0].last == UInt8(ascii: ":") else { continue }
            if `protocol` == .tcp && !fields[3].elementsEqual("0A".utf8) { continue }
            // A connected UDP socket takes datagrams from one peer only.
            if `protocol` == .udp && !fields[3].elementsEqual("07".utf8) { continue }
            let parts = fields[1].split(separator: UInt8(ascii: ":"))
            guard parts.count == 2, parts[1].count == 4, let port = hex(parts[1]), port > 0,
                let bytes = addressBytes(parts[0])
            else { continue }
            found.append(
                ObservedSocket(
                    protocol: `protocol`, address: text(bytes), port: UInt16(port), isLoopback: isLoopback(bytes)))
        }
        return found
    }

    private static func hex(_ digits: some Collection<UInt8>) -> UInt32? {
        guard !digits.isEmpty, digits.count <= 8 else { return nil }
        var value: UInt32 = 0
        for digit in digits {
            switch digit {
            case 48...57: value = value << 4 | UInt32(digit - 48)
            case 65...70: value = value << 4 | UInt32(digit - 55)
            case 97...102: value = value << 4 | UInt32(digit - 87)
            default: return nil
            }
        }
        return value
    }

    /// The kernel prints each 32-bit word of an address as a number of the host's byte order.
    private static func addressBytes(_ digits: some Collection<UInt8>) -> [UInt8]? {
        guard digits.count == 8 || digits.count == 32 else { return nil }
        var bytes: [UInt8] = []
        var rest = digits[...]
        while !rest.isEmpty {
            guard let word = hex(rest.prefix(8)) else { return nil }
            withUnsafeBytes(of: word) { bytes += $0 }
            rest = rest.dropFirst(8)
        }
        return bytes
    }

    private static func isLoopback(_ bytes: [UInt8]) -> Bool {
        if bytes.count == 4 { return bytes[0] == 127 }
        if bytes.prefix(10).allSatisfy({ $0 == 0 }) && bytes[10] == 0xFF && bytes[11] == 0xFF {
            return bytes[12] == 127
        }
        return bytes.prefix(15).allSatisfy { $0 == 0 } && bytes[15] == 1
    }

    private static func text(_ bytes: [UInt8]) -> String {
        if bytes.count == 4 { return bytes.map { String($0) }.joined(separator: ".") }
        if bytes.prefix(10).allSatisfy({ $0 == 0 }) && bytes[10] == 0xFF && bytes[11] == 0xFF {
            return "::ffff:" + bytes[12...].map { String($0) }.joined(separator: ".")
        }
        let groups = stride(from: 0, to: 16, by: 2).map { UInt16(bytes[$0]) << 8 | UInt16(bytes[$0 + 1]) }
        // The longest run of zeros, of at least two, is written `::`.
        var best = 0..<0
        var start = 0
        while start < 8 {
            var end = start
            while end < 8 && groups[end] == 0 { end += 1 }
            if end - start > best.count { best = start..<end }
            start = max(end, start + 1)
        }
        func join(_ part: ArraySlice<UInt16>) -> String { part.map { String($0, radix: 16) }.joined(separator: ":") }
        return best.count < 2
            ? join(groups[...]) : join(groups[..<best.lowerBound]) + "::" + join(groups[best.upperBound...])
    }
}

extension ProcNet {
    /// `/proc/PID/net/sctp/eps`: listening one-to-one and one-to-many sockets.
    public static func sctpSockets(_ table: [UInt8]) -> [ObservedSocket] {
        var found: [ObservedSocket] = []
        for line in table.split(separator: UInt8(ascii: "\n")).dropFirst() {
            // ENDPT SOCK STY SST HBKT LPORT UID INODE LADDRS…; state 10 is LISTEN.
            let fields = line.split(separator: 32).map { String(decoding: $0, as: UTF8.self) }
            guard fields.count > 8, fields[3] == "10", let port = UInt16(fields[5]), port > 0 else { continue }
            for address in fields[8...].prefix(16) {
                let loopback =
                    address == "::1" || address.hasPrefix("127.")
                    || address.hasPrefix("0000:0000:0000:0000:0000:0000:0000:0001")
                found.append(ObservedSocket(protocol: .sctp, address: address, port: port, isLoopback: loopback))
            }
        }
        return found
    }
}

extension ProcNet {
    /// Ports on which a user's sockets listen. The kernel lists those that listen first, so the rest is not read, however
    /// many connections there are.
    static func listeningPorts(_ path: String, user: uid_t) throws(SystemError) -> Set<UInt16> {
        let file = try OwnedFD.open(path, O_RDONLY)
        var ports: Set<UInt16> = []
        var rest: [UInt8] = []
        while true {
            let part = try file.read(upTo: 64 << 10)
            rest += part
            var begin = 0
            while let newline = rest[begin...].firstIndex(of: 10) {
                let fields = rest[begin..<newline].split(separator: 32)
                begin = newline + 1
                // SL LOCAL REMOTE STATE TX:RX TIMER RETRANSMITS UID …; the first line is a heading.
                guard fields.count > 7, fields[0].last == UInt8(ascii: ":") else { continue }
                guard fields[3].elementsEqual("0A".utf8) else { return ports }
                guard UInt32(String(decoding: fields[7], as: UTF8.self)) == user,
                    let digits = fields[1].split(separator: UInt8(ascii: ":")).last, let port = hex(digits)
                else { continue }
                ports.insert(UInt16(truncatingIfNeeded: port))
            }
            rest.removeFirst(begin)
            if part.isEmpty { return ports }
        }
    }
}
