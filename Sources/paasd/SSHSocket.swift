import API
import Domain
import FoundationEssentials
import Glibc
import Logging
import OS

/// Where our programs below sshd find paasd: whose key is it, and what may it do. The socket's folder is open to the users paas
/// and `Settings.sshUser` only, and the peer must be one of them (or root).
final class SSHSocket: Sendable {
    private let settings: Settings
    private let store: any ControlStore
    private let access: GitAccess
    private let logger: Logger
    /// sshd runs a command for each key that somebody offers: more at a time wait for nobody.
    private static let maximumConnections = 512

    init(settings: Settings, store: any ControlStore, access: GitAccess, logger: Logger) {
        self.settings = settings
        self.store = store
        self.access = access
        self.logger = logger
    }

    func start() throws {
        guard settings.sshAddress != nil else { return }
        let allowed = Set([ProcessSpec.User.named(settings.sshUser)?.uid, getuid(), 0].compactMap { $0 })
        let listener = try UnixSocket.listen(settings.sshSocket, mode: 0o660).release()
        let count = SeatCount(limit: Self.maximumConnections)
        Thread.start("ssh-accept") { [self] in
            let listener = OwnedFD(listener)
            while true {
                do {
                    let socket = try UnixSocket.accept(listener)
                    let peer = try UnixSocket.peer(socket)
                    guard allowed.contains(peer.uid) else {
                        logger.warning("ssh socket: refused", metadata: ["uid": "\(peer.uid)"])
                        continue
                    }
                    guard let seat = count.take() else {
                        logger.warning("ssh socket: too many connections")
                        continue
                    }
                    let connection = SSHConnection(socket, seat: seat)
                    try Thread.tryStart("ssh-call") { self.serve(connection) }
                } catch {
                    logger.error("ssh socket: a connection was not served", metadata: ["error": "\(error)"])
                    usleep(100_000)
                }
            }
        }
    }

    /// On a thread of its own until the call is read, then as a task.
    private func serve(_ connection: SSHConnection) {
        let call: SSHCall
        do {
            call = try connection.call()
        } catch {
            logger.warning("ssh socket: unreadable call", metadata: ["error": "\(error)"])
            return connection.close()
        }
        Task { [self] in
            do {
                switch call {
                case .key(let type, let base64):
                    try await connection.send(Array(JSONEncoder().encode(await holder(type, base64))))
                case .session(let key, let command):
                    try await SSHConversation(
                        store: store, access: access, connection: connection, logger: logger
                    ).run(key, command)
                }
            } catch {
                logger.debug("an ssh client is gone", metadata: ["error": "\(error)"])
            }
            connection.close()
        }
    }

    private func holder(_ type: String, _ base64: String) async -> SSHReply {
        let key: SSHPublicKey
        // A kind of key that nobody can add is nobody's.
        do throws(PaaSError) { key = try SSHPublicKey(type: type, base64: base64) } catch { return .unknown }
        do throws(PaaSError) {
            // Also of a token that is dead: its owner is told so instead of being shut out without a word.
            let holder = try await store.keyHolder(fingerprint: KeyFingerprint.of(key), now: .now())
            return holder.map { .known($0.key.id) } ?? .unknown
        } catch {
            logger.warning("a key can't be looked up", metadata: ["error": "\(ErrorChain(error))"])
            return .failed(ErrorReport(error))
        }
    }
}
