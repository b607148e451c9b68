import Domain
import Testing

@testable import Containers

@Suite struct ProcNetTests {
    private let header = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid\n"

    @Test func listeningSocketsAreFound() {
        let table =
            header + "   0: 0100007F:1388 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000\n"
            + "   1: 00000000:0050 00000000:0000 0A 00000000:00000000\n"
            + "   2: 0202D50A:C350 0102D50A:0050 01 00000000:00000000\n"
        #expect(
            ProcNet.sockets(Array(table.utf8), protocol: .tcp) == [
                .init(protocol: .tcp, address: "127.0.0.1", port: 5000, isLoopback: true),
                .init(protocol: .tcp, address: "0.0.0.0", port: 80, isLoopback: false),
            ])
    }

    @Test func addressesOfVersion6() {
        let table =
            header + "   0: 00000000000000000000000000000000:1388 0:0 0A 0\n"
            + "   1: 00000000000000000000000001000000:1389 0:0 0A 0\n"
            + "   2: 0000000000000000FFFF00000100007F:138A 0:0 0A 0\n"
            + "   3: BA1B5AFD000000000000000002000000:138B 0:0 0A 0\n"
        let found = ProcNet.sockets(Array(table.utf8), protocol: .tcp)
        #expect(found.map(\.address) == ["::", "::1", "::ffff:127.0.0.1", "fd5a:1bba::2"])
        #expect(found.map(\.isLoopback) == [false, true, true, false])
    }

    @Test func datagramSocketsAreBoundAndNotConnected() {
        let table = header + "  10: 00000000:0035 00000000:0000 07 0\n  11: 00000000:0036 0100007F:0035 01 0\n"
        #expect(ProcNet.sockets(Array(table.utf8), protocol: .udp).map(\.port) == [53])
    }

    @Test func sctpEndpoints() {
        let table =
            " ENDPT     SOCK   STY SST HBKT LPORT   UID INODE LADDRS\n 0 0 2 10 29 5060 0 1 0.0.0.0\n 0 0 2 7 29 5061 0 1 127.0.0.1\n"
        #expect(ProcNet.sctpSockets(Array(table.utf8)).map(\.port) == [5060])
    }

    /// Whatever the bytes are: no crash, and only what can be a socket.
    @Test func anyBytesAreFine() {
        var random = SplitMix(state: 42)
        let pieces = [
            "0: ", "0100007F:1388", " 0A ", "\n", ":", "ZZ", " ", "00000000000000000000000000000000:FFFF", "07",
            "\u{0}", "é",
        ]
        for round in 0..<2000 {
            var bytes = Array(header.utf8)
            for _ in 0..<(round % 40) {
                if random.next() % 4 == 0 {
                    bytes.append(UInt8(truncatingIfNeeded: random.next()))
                } else {
                    bytes += Array(pieces[Int(random.next() % UInt64(pieces.count))].utf8)
                }
            }
            for kind in [TransportProtocol.tcp, .udp] {
                for socket in ProcNet.sockets(bytes, protocol: kind) {
                    #expect(socket.port > 0)
                    #expect(!socket.address.isEmpty)
                }
            }
            _ = ProcNet.sctpSockets(bytes)
        }
    }

    /// What the kernel writes for an address comes back as that address.
    @Test func everyAddressComesBack() {
        var random = SplitMix(state: 7)
        for _ in 0..<500 {
            let value = UInt32(truncatingIfNeeded: random.next())
            let port = UInt16(truncatingIfNeeded: random.next()) | 1
            func hex(_ n: UInt64, _ width: Int) -> String {
                let text = String(n, radix: 16, uppercase: true)
                return String(repeating: "0", count: width - text.count) + text
            }
            let line = header + "   0: \(hex(UInt64(value), 8)):\(hex(UInt64(port), 4)) 00000000:0000 0A 0\n"
            let wanted = [value & 255, value >> 8 & 255, value >> 16 & 255, value >> 24].map { String($0) }.joined(
                separator: ".")
            let found = ProcNet.sockets(Array(line.utf8), protocol: .tcp)
            #expect(found == [.init(protocol: .tcp, address: wanted, port: port, isLoopback: value & 255 == 127)])
        }
    }
}

/// A small generator with a seed, so that a failure can be repeated.
struct SplitMix {
    var state: UInt64
    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var z = state
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }
}
