import Domain
import Glibc
import OS

/// sshd's `AuthorizedKeysCommand` (sshd_config(5)): answers a key that somebody knows with a line that allows one command and
/// nothing else, and any other key with nothing.
public enum SSHKeyLookup {
    /// Stands for a key while it can't be looked up: who offers one is let in to be told so, and to nothing else.
    static let unavailable = "unavailable"

    /// - Parameters: `type` and `base64`: the key that a client offers, as sshd's `%t` and `%k`.
    /// - Returns: the exit status.
    public static func run(socket: String, type: String, base64: String) -> Int32 {
        do {
            let program = try ProgramEnvironment.executablePath()
            let key: String
            do throws(PaaSError) {
                guard let known = try ask(socket, type, base64) else { return 0 }
                key = "\(known)"
            } catch {
                complain("a key can't be looked up: \(error.message)")
                key = unavailable
            }
            try OwnedFD(1).writeAll(
                (line(program: program, socket: socket, key: key, type: type, base64: base64) + "\n").utf8)
            return 0
        } catch {
            complain("a key can't be answered: \(error)")
            return 1
        }
    }

    /// - Throws: `unavailable` when paasd does not answer, and what it answers with.
    static func ask(_ socket: String, _ type: String, _ base64: String) throws(PaaSError) -> KeyID? {
        let reply: SSHReply
        do throws(SystemError) {
            let channel = FrameChannel(try UnixSocket.connect(socket), maximumBytes: 1 << 20)
            try channel.limitIdle(receiveSeconds: 10, sendSeconds: 10)
            let call = SSHCall.key(type: type, base64: base64)
            do { try channel.send(try GitWire.encode(call)) } catch { throw SystemError("send", errno: EPIPE) }
            guard let bytes = try channel.receive() else { throw SystemError("receive", errno: EPIPE) }
            do { reply = try GitWire.decode(SSHReply.self, bytes) } catch { throw SystemError("read", errno: EBADMSG) }
        } catch {
            throw PaaSError(.unavailable, "the platform does not answer; try again in a moment", cause: error)
        }
        switch reply {
        case .known(let key): return key
        case .unknown: return nil
        case .failed(let report): throw report.asError
        }
    }

    /// A line of authorized_keys (sshd(8)).
    static func line(program: String, socket: String, key: String, type: String, base64: String) -> String {
        let words = [program, "ssh-session", socket, key].map(quotedForShell).joined(separator: " ")
        let escaped = "exec \(words)".replacing("\"", with: "\\\"")
        return "restrict,command=\"\(escaped)\" \(type) \(base64)"
    }

    private static func quotedForShell(_ word: String) -> String {
        "'" + word.replacing("'", with: "'\\''") + "'"
    }

    private static func complain(_ text: String) {
        let bytes = Array("paas-git: \(text)\n".utf8)
        // sshd's log; without it the client sees that it is refused.
        _ = bytes.withUnsafeBytes { write(2, $0.baseAddress, $0.count) }
    }
}
