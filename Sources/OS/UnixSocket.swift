import CShim
import Glibc

/// Stream sockets in the file system.
public enum UnixSocket {
    public struct Peer: Sendable, Hashable {
        public var pid: pid_t
        public var uid: uid_t
        public var gid: gid_t
    }

    /// Replaces a stale socket file. The file is never, not even for a moment, open to others than `mode` says.
    public static func listen(_ path: String, mode: mode_t, owner: ProcessSpec.User? = nil) throws(SystemError)
        -> OwnedFD
    {
        try Files.remove(path)
        let before = umask(0o177)
        let result = slipway_unix_listen(path, 128)
        _ = umask(before)
        let fd = OwnedFD(try Syscall.shim("listen on \(path)", result))
        if let owner { try Files.setOwner(path, uid: owner.uid, gid: owner.gid) }
        try Files.setMode(path, mode)
        return fd
    }

    /// Blocks for the next connection.
    public static func accept(_ listener: borrowing OwnedFD) throws(SystemError) -> OwnedFD {
        let raw = listener.raw
        return OwnedFD(try Syscall.shim("accept", slipway_accept(raw)))
    }

    public static func connect(_ path: String) throws(SystemError) -> OwnedFD {
        OwnedFD(try Syscall.shim("connect to \(path)", slipway_unix_connect(path)))
    }

    public static func peer(_ socket: borrowing OwnedFD) throws(SystemError) -> Peer {
        var peer = Peer(pid: 0, uid: 0, gid: 0)
        try Syscall.shim("SO_PEERCRED", slipway_peer_credentials(socket.raw, &peer.pid, &peer.uid, &peer.gid))
        return peer
    }
}
