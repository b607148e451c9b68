import API
import Domain
import OS

/// How git over SSH does: whether sshd listens, and with which host key.
struct SSHStatus: Sendable {
    let settings: Settings

    /// Nil: it is switched off.
    var address: SSHAddress? { settings.publicSSHURL.map { SSHAddress(url: $0, hostKey: hostKey) } }

    /// Of the key that clients prefer; nil if it can't be read.
    private var hostKey: String? {
        let path = settings.sshKeysDirectory + "/ssh_host_ed25519_key.pub"
        do {
            guard let text = try Files.readText(path, limit: SSHPublicKey.maximumBytes) else { return nil }
            return KeyFingerprint.text(KeyFingerprint.of(try SSHPublicKey(text)))
        } catch {
            // Doctor and status say that there is none.
            return nil
        }
    }

    func component() -> ComponentStatus? {
        guard let address = settings.sshAddress else { return nil }
        guard isListening else {
            return ComponentStatus(
                name: "ssh", state: .down,
                detail: "sshd does not listen on \(address); git over HTTP is not touched; see the log of paas-sshd")
        }
        return ComponentStatus(name: "ssh", state: .up, detail: "\(address), host key \(hostKey ?? "unknown")")
    }

    func check() -> DoctorCheck? {
        guard let address = settings.sshAddress else { return nil }
        guard isListening else {
            return DoctorCheck(
                name: "git over ssh", state: .failed, found: "sshd does not listen on \(address)",
                fix:
                    "see \(settings.dataDirectory)/service-logs/paas-sshd/current, or switch it off: PAAS_SSH_ADDRESS=off"
            )
        }
        guard let hostKey else {
            return DoctorCheck(
                name: "git over ssh", state: .failed,
                found: "\(settings.sshKeysDirectory) has no host key that can be read",
                fix: "run bin/up, which makes it")
        }
        return DoctorCheck(name: "git over ssh", state: .ok, found: "\(address), host key \(hostKey)")
    }

    /// From the kernel's own list: asking sshd itself would leave a line in its log each time.
    private var isListening: Bool {
        guard let port = settings.sshAddress?.split(separator: ":").last.flatMap({ UInt16($0) }),
            let user = ProcessSpec.User.named(settings.sshUser)
        else { return false }
        for file in ["/proc/net/tcp", "/proc/net/tcp6"] {
            let text: String?
            do { text = try Files.readText(file, limit: 64 << 20) } catch { continue }
            if Self.listens(text ?? "", port: port, user: user.uid) { return true }
        }
        return false
    }

    /// Whether a table of the kernel's (`/proc/net/tcp`) has a listener on this port that is this user's: another program on
    /// the port is not sshd.
    static func listens(_ table: String, port: UInt16, user: UInt32) -> Bool {
        let digits = String(port, radix: 16, uppercase: true)
        let suffix = ":" + String(repeating: "0", count: 4 - digits.count) + digits
        return table.split(separator: "\n").contains { line in
            // Number, local address, remote address, state (0A is LISTEN), queues, timer, retransmissions, user.
            let fields = line.split(separator: " ", omittingEmptySubsequences: true)
            return fields.count > 7 && fields[1].hasSuffix(suffix) && fields[3] == "0A" && UInt32(fields[7]) == user
        }
    }
}
