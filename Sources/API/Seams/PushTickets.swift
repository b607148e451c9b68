import Crypto
import Domain
import Synchronization

/// What a ticket stands for.
public struct PushGrant: Sendable, Hashable {
    public var principal: Principal
    public var app: AppID
    public init(principal: Principal, app: AppID) {
        self.principal = principal
        self.app = app
    }
}

/// One-time tickets that carry a pusher's identity from the HTTP request through git to the proc-receive hook.
///
/// Held in memory only: a push that is under way when paasd restarts has to be repeated.
public final class PushTickets: Sendable {
    /// How long a ticket is good for: the upload of a large push comes before the hook runs.
    public static let lifetimeSeconds: Double = 6 * 3600
    static let limit = 10_000

    private struct Entry {
        var grant: PushGrant
        var expiresAt: Timestamp
        /// What it was redeemed for.
        var commands: [PushCommand]?
    }
    private let entries = Mutex<[[UInt8]: Entry]>([:])

    public init() {}

    /// A new ticket, 64 hex digits. Never to be logged.
    /// - Throws: `exhausted` when too many pushes are under way.
    public func issue(_ grant: PushGrant, now: Timestamp) throws(PaaSError) -> String {
        let ticket = SecretText.random()
        let key = SecretText.hash(ticket)
        let entry = Entry(grant: grant, expiresAt: now.adding(seconds: Self.lifetimeSeconds))
        let stored = entries.withLock { entries in
            if entries.count >= Self.limit { entries = entries.filter { $0.value.expiresAt > now } }
            guard entries.count < Self.limit else { return false }
            entries[key] = entry
            return true
        }
        guard stored else {
            throw PaaSError(.unavailable, "too many pushes are under way; try again in a minute", source: .platform)
        }
        return ticket
    }

    /// The grant, the first time a valid ticket is shown; nil afterwards, after its time, and for anything else.
    public func redeem(_ ticket: String, for commands: [PushCommand], now: Timestamp) -> PushGrant? {
        let key = SecretText.hash(ticket)
        return entries.withLock { entries in
            guard let entry = entries[key], entry.commands == nil, entry.expiresAt > now else { return nil }
            entries[key]?.commands = commands
            return entry.grant
        }
    }

    /// The grant of a ticket that was redeemed before, for the same commands: a hook that lost its connection goes on with
    /// the same push. For another push the ticket is spent.
    public func resume(_ ticket: String, for commands: [PushCommand], now: Timestamp) -> PushGrant? {
        let key = SecretText.hash(ticket)
        return entries.withLock { entries in
            guard let entry = entries[key], entry.commands == commands, entry.expiresAt > now else { return nil }
            return entry.grant
        }
    }

    /// Forgets a ticket: the git program that carried it has ended.
    public func discard(_ ticket: String) {
        let key = SecretText.hash(ticket)
        entries.withLock { $0[key] = nil }
    }
}
