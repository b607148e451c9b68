public import Domain
import Postgres

extension PostgresStore {
    public func keys(for principal: Principal) async throws(PaaSError) -> [AccessKey] {
        try await read { session in
            try session.rows(
                """
                select * from access_keys where token_id = \(principal.token) or \(principal.mayAdministrate)
                order by created_at, id
                """
            ).map { try AccessKey($0) }
        }
    }

    public func addKey(_ key: AccessKey, line: String, actor: Principal, now: Timestamp) async throws(PaaSError)
        -> AccessKey
    {
        guard key.fingerprint.count == 32 else { throw PaaSError(.internal, "a key's fingerprint must be a SHA-256") }
        return try await write(now: now) { transaction in
            let session = transaction.session
            // One key at a time of a token, so that they can be counted.
            try session.run("select 1 from tokens where id = \(actor.token) for update")
            if let row = try session.first(
                """
                select k.id, k.token_id, t.revoked_at is null and (t.expires_at is null or t.expires_at > \(now)) as alive
                from access_keys k join tokens t on t.id = k.token_id
                where k.fingerprint = \(key.fingerprint) for update of k
                """)
            {
                let owner: TokenID = try row.get("token_id")
                if owner == actor.token {
                    throw PaaSError(.conflict, "you have added this key already; see: paasctl keys")
                }
                guard try !row.get("alive", as: Bool.self) else {
                    throw PaaSError(
                        .conflict,
                        "this key was added with another token; remove it there first, or make another: ssh-keygen -t ed25519"
                    )
                }
                try session.run("delete from access_keys where id = \(try row.get("id", as: KeyID.self))")
            }
            let count: Int64 =
                try session.first("select count(*) as n from access_keys where token_id = \(actor.token)")?.get("n")
                ?? 0
            guard count < Limits.keysPerToken else {
                throw PaaSError(
                    .exhausted,
                    "a token can have at most \(Limits.keysPerToken) keys; remove one: paasctl keys remove ID")
            }
            let made = AccessKey(
                id: .random(), token: actor.token, name: key.name, type: key.type, fingerprint: key.fingerprint,
                createdAt: now)
            try session.run(
                """
                insert into access_keys (id, token_id, name, type, public_key, fingerprint, created_at)
                values (\(made.id), \(made.token), \(made.name), \(made.type), \(line), \(made.fingerprint), \(now))
                """)
            transaction.record("key.added", space: nil, actor: actor.name, ["key": "\(made.id)", "type": made.type])
            return made
        }
    }

    public func removeKey(_ id: KeyID, actor: Principal, now: Timestamp) async throws(PaaSError) {
        try await write(now: now) { transaction in
            let removed = try transaction.session.first(
                """
                delete from access_keys where id = \(id) and (token_id = \(actor.token) or \(actor.mayAdministrate))
                returning id
                """)
            guard removed != nil else { throw PaaSError(.notFound, "there is no key \(id); see: paasctl keys") }
            transaction.record("key.removed", space: nil, actor: actor.name, ["key": "\(id)"])
        }
    }

    public func keyHolder(fingerprint: [UInt8], now: Timestamp) async throws(PaaSError) -> KeyHolder? {
        try await read { session in
            guard let row = try session.first("select * from access_keys where fingerprint = \(fingerprint)") else {
                return nil
            }
            return try session.holder(of: AccessKey(row), now: now)
        }
    }

    public func keyHolder(_ id: KeyID, now: Timestamp) async throws(PaaSError) -> KeyHolder? {
        try await read { session in
            guard let row = try session.first("select * from access_keys where id = \(id)") else { return nil }
            return try session.holder(of: AccessKey(row), now: now)
        }
    }
}

extension PostgresSession {
    fileprivate func holder(of key: AccessKey, now: Timestamp) throws -> KeyHolder {
        let row = try first(
            """
            select id, role, space_id, builtin from tokens
            where id = \(key.token) and revoked_at is null and (expires_at is null or expires_at > \(now))
            """)
        return KeyHolder(key: key, principal: try row.map { try PostgresStore.principal($0) })
    }
}

extension AccessKey {
    init(_ row: PostgresRow) throws(PostgresError) {
        self.init(
            id: try row.get("id"), token: try row.get("token_id"), name: try row.get("name"), type: try row.get("type"),
            fingerprint: try row.get("fingerprint"), createdAt: try row.get("created_at"))
    }
}
