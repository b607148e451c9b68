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
                detail: "nothing listens on \(address); git over HTTP is not touched; see the log of paas-sshd")
        }
        return ComponentStatus(name: "ssh", state: .up, detail: "\(address), host key \(hostKey ?? "unknown")")
    }

    func check() -> DoctorCheck? {
        guard let address = settings.sshAddress else { return nil }
        guard isListening else {
            return DoctorCheck(
                name: "git over ssh", state: .failed, found: "nothing listens on \(address)",
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
        guard let port = settings.sshAddress?.split(separator: ":").last.flatMap({ UInt16($0) }) else { return false }
        let digits = String(port, radix: 16, uppercase: true)
        let suffix = ":" + String(repeating: "0", count: 4 - digits.count) + digits
        for file in ["/proc/net/tcp", "/proc/net/tcp6"] {
            let text: String?
            do { text = try Files.readText(file, limit: 64 << 20) } catch { continue }
            for line in (text ?? "").split(separator: "\n") {
                let fields = line.split(separator: " ", omittingEmptySubsequences: true)
                // Local address, remote address, state: 0A is LISTEN.
                if fields.count > 3, fields[1].hasSuffix(suffix), fields[3] == "0A" { return true }
            }
        }
        return false
    }
}
