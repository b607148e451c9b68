import CLibUV
import Glibc
import OS

/// An IPv4 or IPv6 address with a port.
struct SocketAddress: Sendable {
    private var storage = sockaddr_storage()
    private let length: socklen_t
    let isIPv6: Bool

    /// Nil unless `ip` is a literal address.
    init?(ip: String, port: UInt16) {
        var four = sockaddr_in()
        var six = sockaddr_in6()
        if inet_pton(AF_INET, ip, &four.sin_addr) == 1 {
            four.sin_family = sa_family_t(AF_INET)
            four.sin_port = port.bigEndian
            isIPv6 = false
            length = socklen_t(MemoryLayout<sockaddr_in>.size)
            withUnsafeMutableBytes(of: &storage) { $0.storeBytes(of: four, as: sockaddr_in.self) }
        } else if inet_pton(AF_INET6, ip, &six.sin6_addr) == 1 {
            six.sin6_family = sa_family_t(AF_INET6)
            six.sin6_port = port.bigEndian
            isIPv6 = true
            length = socklen_t(MemoryLayout<sockaddr_in6>.size)
            withUnsafeMutableBytes(of: &storage) { $0.storeBytes(of: six, as: sockaddr_in6.self) }
        } else {
            return nil
        }
    }

    /// `127.0.0.1:7090` or `[::1]:7090`. Nil for anything else.
    init?(hostAndPort text: String) {
        guard let colon = text.lastIndex(of: ":"), let port = UInt16(text[text.index(after: colon)...]) else {
            return nil
        }
        var host = String(text[..<colon])
        if host.hasPrefix("[") && host.hasSuffix("]") { host = String(host.dropFirst().dropLast()) }
        self.init(ip: host, port: port)
    }

    /// `0.0.0.0` or `::`.
    var isAny: Bool {
        withUnsafeBytes(of: storage) { raw in
            // Where the address is in sockaddr_in and in sockaddr_in6.
            (isIPv6 ? raw[8..<24] : raw[4..<8]).allSatisfy { $0 == 0 }
        }
    }

    func withPointer<R>(_ body: (UnsafePointer<sockaddr>, socklen_t) -> R) -> R {
        withUnsafePointer(to: storage) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { body($0, length) }
        }
    }

    /// A number that is the same for every connection from one peer address; 0 if the peer has gone.
    static func peerHash(_ fd: Int32) -> UInt64 {
        var storage = sockaddr_storage()
        var length = socklen_t(MemoryLayout<sockaddr_storage>.size)
        let result = withUnsafeMutablePointer(to: &storage) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { getpeername(fd, $0, &length) }
        }
        guard result == 0 else { return 0 }
        var hash: UInt64 = 0xcbf2_9ce4_8422_2325
        func mix(_ bytes: UnsafeRawBufferPointer.SubSequence) {
            for byte in bytes { hash = (hash ^ UInt64(byte)) &* 0x100_0000_01b3 }
        }
        withUnsafeBytes(of: &storage) { raw in
            // The address without the port: bytes 4–7 of sockaddr_in, 8–23 of sockaddr_in6.
            if Int32(raw.load(as: sa_family_t.self)) == AF_INET { mix(raw[4..<8]) } else { mix(raw[8..<24]) }
        }
        return hash
    }
}

/// Listening TCP sockets.
enum ListeningSocket {
    private static let backlog: Int32 = 4096

    /// One socket for IPv4 and IPv6 for `0.0.0.0` and `::`; else that address alone. On a host without IPv6, IPv4 alone.
    /// Connections taken from it have TCP_NODELAY and keepalive set: they inherit both.
    static func open(address: String, port: UInt16) throws(SystemError) -> OwnedFD {
        guard let one = SocketAddress(ip: address, port: port), let all = SocketAddress(ip: "::", port: port),
            let allOfIPv4 = SocketAddress(ip: "0.0.0.0", port: port)
        else { throw SystemError("bind", errno: EINVAL) }
        guard one.isAny else { return try open(one, dualStack: false) }
        do throws(SystemError) {
            return try open(all, dualStack: true)
        } catch {
            guard error.errno == EAFNOSUPPORT || error.errno == EADDRNOTAVAIL else { throw error }
        }
        return try open(allOfIPv4, dualStack: false)
    }

    static func open(_ address: SocketAddress, dualStack: Bool) throws(SystemError) -> OwnedFD {
        let family = address.isIPv6 ? AF_INET6 : AF_INET
        let type = Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue | SOCK_NONBLOCK.rawValue)
        let fd = OwnedFD(try Syscall.check("socket") { socket(family, type, 0) })
        let raw = fd.raw
        try set(raw, SOL_SOCKET, SO_REUSEADDR, 1)
        if address.isIPv6 { try set(raw, Int32(IPPROTO_IPV6), IPV6_V6ONLY, dualStack ? 0 : 1) }
        try set(raw, Int32(IPPROTO_TCP), TCP_NODELAY, 1)
        try set(raw, SOL_SOCKET, SO_KEEPALIVE, 1)
        try set(raw, Int32(IPPROTO_TCP), TCP_KEEPIDLE, Int32(keepaliveSeconds))
        try Syscall.check("bind") { address.withPointer { bind(raw, $0, $1) } }
        try Syscall.check("listen") { listen(raw, backlog) }
        return fd
    }

    /// Idle seconds before the kernel asks a peer whether it is still there.
    static let keepaliveSeconds: UInt32 = 60

    private static func set(_ fd: Int32, _ level: Int32, _ option: Int32, _ value: Int32) throws(SystemError) {
        var value = value
        try Syscall.check("setsockopt") {
            setsockopt(fd, level, option, &value, socklen_t(MemoryLayout<Int32>.size))
        }
    }
}
