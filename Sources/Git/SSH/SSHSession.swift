import Domain
import Glibc
import OS
import Synchronization

/// The forced command below sshd: carries bytes between a client and paasd, which decides what the client gets. Whatever the
/// client asked for is passed on as data; nothing of it is run here.
public enum SSHSession {
    /// - Parameters:
    ///   - key: id of the key that the client has shown to have.
    ///   - command: what the client wants to run; nil: a shell.
    /// - Returns: the exit status that the client sees.
    public static func run(socket: String, key: String, command: String?) -> Int32 {
        guard let id = KeyID(key) else {
            say("The platform can't look up keys at the moment; try again in a minute.\n")
            return 1
        }
        do {
            let channel = FrameChannel(try UnixSocket.connect(socket), maximumBytes: 1 << 20)
            try channel.send(GitWire.encode(SSHCall.session(key: id, command: command)))
            try Thread.tryStart("ssh-input") { sendInput(to: channel) }
            return try relay(channel)
        } catch {
            say("The platform was interrupted. A build that has begun goes on (paasctl builds); else try again.\n")
            return 1
        }
    }

    private static func sendInput(to channel: FrameChannel) {
        do throws(SystemError) {
            let input = OwnedFD(0)
            while true {
                let part = try input.read(upTo: SSHFrame.maximumBytes)
                if part.isEmpty { break }
                try channel.send([SSHFrame.input] + part)
            }
            try channel.send([SSHFrame.endOfInput])
        } catch {
            // paasd wants no more of it: the other direction tells why.
        }
    }

    private static func relay(_ channel: FrameChannel) throws -> Int32 {
        let output = OwnedFD(1)
        while let frame = try channel.receive(), let tag = frame.first {
            let body = frame.dropFirst()
            switch tag {
            case SSHFrame.output: try output.writeAll(body)
            case SSHFrame.message: say(String(decoding: body, as: UTF8.self))
            case SSHFrame.exit: return Int32(String(decoding: body, as: UTF8.self)) ?? 1
            default: break
            }
        }
        throw SystemError("receive", errno: EPIPE)
    }

    private static func say(_ text: String) {
        let bytes = Array(text.utf8)
        // A client that is gone hears nothing.
        _ = bytes.withUnsafeBytes { write(2, $0.baseAddress, $0.count) }
    }
}
