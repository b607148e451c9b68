public import Domain
import Postgres

extension PostgresStore: ControlStore {
    public func principal(secretHash: [UInt8], now: Timestamp) async throws(PaaSError) -> Principal? {
        try await read { session in
            guard
                let row = try session.first(
                    """
                    select id, role, space_id, builtin from tokens
                    where secret_hash = \(secretHash) and revoked_at is null
                        and (expires_at is null or expires_at > \(now))
                    """)
            else { return nil }
            return try Self.principal(row)
        }
    }

    /// - Parameter row: of a token that is valid.
    static func principal(_ row: PostgresRow) throws(PostgresError) -> Principal {
        let id: TokenID = try row.get("id")
        let role: Role = try row.choice("role")
        let builtin: Bool = try row.get("builtin")
        let name = builtin ? "admin" : tokenName(role, id)
        return Principal(token: id, name: name, role: role, space: try row.get("space_id"))
    }

    public func ensureAdminToken(secretHash: [UInt8], now: Timestamp) async throws(PaaSError) {
        try Self.checkHash(secretHash)
        try await write(now: now) { transaction in
            let old: [UInt8]? = try transaction.session.first(
                "select secret_hash from tokens where builtin for update"
            )?.get("secret_hash")
            if old == secretHash { return }
            try transaction.session.run(
                """
                insert into tokens (id, role, secret_hash, builtin, created_at)
                values (\(TokenID.random()), 'admin', \(secretHash), true, \(now))
                on conflict (builtin) where builtin do update set secret_hash = excluded.secret_hash,
                    revoked_at = null, expires_at = null
                """)
            transaction.record(
                old == nil ? "token.created" : "token.replaced", space: nil, actor: nil, ["role": "admin"])
        }
    }

    public func createToken(
        role: Role, space: String?, expiresAt: Timestamp?, secretHash: [UInt8], actor: Principal, now: Timestamp
    ) async throws(PaaSError) -> AccessToken {
        try Self.checkHash(secretHash)
        try Self.requireAdministrator(actor)
        if let expiresAt, expiresAt <= now {
            throw PaaSError(
                .invalid, "the token would have expired already; choose a time in the future",
                invalidParameters: [.init(name: "expiresAt", reason: "must be in the future")])
        }
        if role == .admin && space != nil {
            throw PaaSError(.invalid, "an admin token can't be limited to a space; choose another role, or no space")
        }
        return try await write(now: now) { transaction in
            var limit: Space?
            if let space {
                guard let found = try transaction.session.findSpace(named: space), actor.maySee(space: found.id) else {
                    throw PaaSError(.notFound, "space \(Names.quoted(space)) does not exist; see: paasctl spaces")
                }
                limit = found
            }
            let token = AccessToken(
                id: .random(), role: role, space: limit?.id, spaceName: limit?.name, createdAt: now,
                expiresAt: expiresAt)
            try transaction.session.run(
                """
                insert into tokens (id, role, space_id, secret_hash, created_at, expires_at)
                values (\(token.id), \(role.rawValue), \(limit?.id), \(secretHash), \(now), \(expiresAt))
                """)
            transaction.record(
                "token.created", space: limit, actor: actor.name, ["token": "\(token.id)", "role": role.rawValue])
            return token
        }
    }

    public func tokens() async throws(PaaSError) -> [AccessToken] {
        try await read { session in
            try session.rows(
                """
                select t.*, s.name as space_name from tokens t left join spaces s on s.id = t.space_id
                order by t.created_at, t.builtin desc, t.id
                """
            ).map { try AccessToken($0) }
        }
    }

    public func revokeToken(_ id: TokenID, actor: Principal, now: Timestamp) async throws(PaaSError) {
        try Self.requireAdministrator(actor)
        try await write(now: now) { transaction in
            guard
                let row = try transaction.session.first(
                    """
                    select t.*, s.name as space_name from tokens t left join spaces s on s.id = t.space_id
                    where t.id = \(id) for update of t
                    """)
            else { throw PaaSError(.notFound, "there is no token \(id); see: paasctl tokens") }
            if try row.get("builtin", as: Bool.self) {
                throw PaaSError(
                    .conflict,
                    "the built-in admin token can't be revoked; replace the file admin-token and restart to change it")
            }
            let token = try AccessToken(row)
            if token.revokedAt != nil { return }
            try transaction.session.run("update tokens set revoked_at = \(now) where id = \(id)")
            let space = token.space.flatMap { id in
                token.spaceName.map { Space(id: id, name: $0, networkIndex: 0, createdAt: now) }
            }
            transaction.record("token.revoked", space: space, actor: actor.name, ["token": "\(id)"])
        }
    }

    /// As in `developer:3f2a91bc`.
    static func tokenName(_ role: Role, _ id: TokenID) -> String { "\(role.rawValue):\(id.description.prefix(8))" }

    static func requireAdministrator(_ actor: Principal) throws(PaaSError) {
        guard actor.mayAdministrate else {
            throw PaaSError(.forbidden, "role \(actor.role.rawValue) may not do this; use an admin token")
        }
    }

    private static func checkHash(_ hash: [UInt8]) throws(PaaSError) {
        guard hash.count == 32 else { throw PaaSError(.internal, "a token's hash must be a SHA-256") }
    }
}
