import API
import Domain
import Logging
import OS

/// What one client gets over SSH: a greeting, or one push or fetch.
struct SSHConversation: Sendable {
    /// A client that neither sends nor takes anything for so long is cut off. git itself says something every five seconds
    /// once it works; before that a pusher may pack.
    private static let silentSeconds: Double = 900

    let store: any ControlStore
    let access: GitAccess
    let connection: SSHConnection
    let logger: Logger

    func run(_ key: KeyID, _ command: String?) async throws {
        do {
            let principal = try await principal(key)
            guard let command else { return try await greet(principal) }
            let asked = try GitCommandLine(command)
            do {
                try await serve(asked, principal)
            } catch let error as PaaSError {
                log(error)
                // In the words of git's protocol, which its client shows as they are.
                let words = "ERR \(error.message)"
                try await connection.output(Self.packet(words))
                try await connection.exit(1)
            }
        } catch let error as PaaSError {
            log(error)
            try await connection.say(error.message)
            try await connection.exit(1)
        }
    }

    private func log(_ error: PaaSError) {
        if error.source == .platform || error.source == .dependency {
            logger.error("git over ssh failed", metadata: ["error": "\(ErrorChain(error))"])
        }
    }

    private func principal(_ key: KeyID) async throws(PaaSError) -> Principal {
        guard let holder = try await store.keyHolder(key, now: .now()) else {
            throw PaaSError(.unauthenticated, "this key was removed; add it again: paasctl keys add FILE")
        }
        guard let principal = holder.principal else {
            throw PaaSError(
                .unauthenticated,
                "the token with which this key was added has expired or was revoked; add it again with a new one: paasctl login, paasctl keys add FILE"
            )
        }
        return principal
    }

    private func greet(_ principal: Principal) async throws {
        try await connection.say(
            "Hello \(principal.name), your key works. There is no shell here: deploy with git push, and see paasctl --help."
        )
        try await connection.exit(1)
    }

    private func serve(_ asked: GitCommandLine, _ principal: Principal) async throws {
        let app = try await access.app(asked.app, for: principal, asked.service)
        switch asked.service {
        case .uploadPack:
            try await converse(try await access.fetch(app, principal))
        case .receivePack:
            let refs = try await access.advertise(app, principal, .receivePack)
            do {
                try await refs.base.finishWriting()
                while let part = try await refs.base.read() { try await connection.output(part) }
            } catch {
                await refs.close()
                throw error
            }
            await refs.close()
            try await converse(try await access.push(app, principal))
        }
    }

    /// Carries both directions until the program of git has ended, or the client is gone.
    private func converse(_ exchange: OwnedExchange) async throws {
        let watch = Task {
            while connection.silentSince + Self.silentSeconds > Monotonic.now() {
                try await Task.sleep(for: .seconds(15))
            }
            await exchange.close()
            connection.close()
        }
        let input = Task { await takeInput(into: exchange) }
        defer {
            watch.cancel()
            input.cancel()
        }
        do {
            while let part = try await exchange.base.read() { try await connection.output(part) }
            await exchange.close()
            try await connection.exit(0)
        } catch {
            await exchange.close()
            guard let known = error as? PaaSError else { throw error }
            log(known)
            // In the middle of a reply only its absence can be told on standard output.
            try await connection.say(known.message)
            try await connection.exit(1)
        }
    }

    private func takeInput(into exchange: OwnedExchange) async {
        do {
            while let event = try await connection.next() {
                switch event {
                case .input(let bytes):
                    // A program that wants no more has said why, or will.
                    do throws(PaaSError) { try await exchange.base.write(bytes) } catch {}
                case .endOfInput:
                    do throws(PaaSError) { try await exchange.base.finishWriting() } catch {}
                }
            }
        } catch {
            logger.debug("an ssh client is gone", metadata: ["error": "\(error)"])
        }
        // It hung up. A build that it began goes on.
        await exchange.close()
    }

    /// git's pkt-line.
    private static func packet(_ text: String) -> [UInt8] {
        let bytes = Array(text.utf8).prefix(4096)
        let digits = String(bytes.count + 4, radix: 16)
        return Array((String(repeating: "0", count: 4 - digits.count) + digits).utf8) + bytes
    }
}
